"""Cleans the texts of the data: one way of writing, whatever the source. Pure; knows no tokenizer.

People typed these texts fast, and some sources were split into words. A model repeats what it reads, so the spelling that a reader expects
is restored where that is certain: capitals at the beginning of sentences and in "I", a mark at the end, no blanks before marks.
"""

from __future__ import annotations

import re
import unicodedata

_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...", "\u00a0": " ", "\ufeff": None})
_COMMA = re.compile(r"_comma_")  # as EmpatheticDialogues writes it in its original files
_SPECIAL = re.compile(r"<\|")
_SPLIT_CONTRACTION = re.compile(r"(?<=\w) ?' ?(?=(?:s|t|m|d|re|ve|ll)\b)", re.IGNORECASE)
_BEFORE_MARK = re.compile(r" +(?=[.,!?;:](?:\s|$))")
_REPEATED_MARK = re.compile(r"([!?])[!?]+")
_DOTS = re.compile(r"\.(?: ?\.)+")
_GLUED = re.compile(r"(?<=[a-z][.!?])(?=[A-Z])")
_LONE_I = re.compile(r"(?<![\w'.-])i(?=$|[\s,!?]|'(?:m|d|ll|ve)\b)")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")
_ENDS = (".", "!", "?", '"', ")", ":", ";", ",")


def clean(text: str) -> str:
    """Return the text in one line, in plain characters and with blanks where they belong; no chat token is left in it."""
    text = unicodedata.normalize("NFC", _COMMA.sub(",", text)).translate(_PLAIN)
    text = " ".join(_SPECIAL.sub("(", text).split())
    text = _BEFORE_MARK.sub("", _SPLIT_CONTRACTION.sub("'", text))
    text = _REPEATED_MARK.sub(r"\1", _DOTS.sub("...", text))
    return _GLUED.sub(" ", text)


def well_written(text: str) -> str:
    """Return the cleaned text as a reply should be written: with capitals, and with a mark at its end."""
    text = _LONE_I.sub("I", clean(text))
    text = _SENTENCE_START.sub(lambda letter: letter[0].upper(), text)
    return text if not text or text.endswith(_ENDS) else f"{text}."


def words(text: str) -> list[str]:
    """Split a text as published perplexities on EmpatheticDialogues do: in lower case, marks and clitics by themselves.

    MoEL, MIME and CEM count the tokens of NLTK's word tokenizer; this is its rule for English as far as dialogues need it.
    """
    return re.findall(r"[^\W_]+|'[a-z]+|[^\w\s]|_", text.lower())
