"""Tells text from the markup of chat templates: no text may end a message, open a turn or speak as somebody else.

Pure; knows no tokenizer and no template. The rules are wider than any list of tokens, because each model brings its own.
"""

from __future__ import annotations

import re
import unicodedata

from .persona import NAME

# Who speaks in templates that have only words: ChatML's roles, Claude's Human, the persona, and Alpaca's headings.
_SPEAKERS = {"system", "developer", "user", "human", "assistant", "ai", "bot", "model", "tool", NAME.casefold()}
_HEADINGS = {"instruction", "input", "response", "output"}
_ROLES = _SPEAKERS | _HEADINGS

# Every character that NFKD turns into "<" (or "<" and a stroke), since tokenizers normalize. Tokens open with it and go on at once:
# what follows a comparison ("a < b", "<="), an arrow ("<-") or makes a heart ("<3") is left alone.
_ANGLE = re.compile(r"[<\uff1c\ufe64\u226e](?![ \t\n\r=-]|3(?!\w)|\Z)")
# NFKC leaves this one as it is.
_QUOTE = "\u2039"
# "[INST]" and the like, brackets that NFKC makes so included: no blank inside, and no digit first, so that "[1]" stays.
# Parentheses are left out, so that what was replaced inside brackets is not replaced again.
_BRACKETS = re.compile(r"[\[\uff3b\ufe47]((?!\d)[^ \t\n\r()\[\]\uff3b\ufe47\uff3d\ufe48]+)[\]\uff3d\ufe48]")
_LINE_END = r"\n\r\v\f\x85\u2028\u2029"
_HEADER = re.compile(rf"((?:\A|(?<=[{_LINE_END}]))[^\w{_LINE_END}]*)(\w+)([ \t*]*)[:\uff1a\ufe55\ufe13]+")


def neutralize(text: str) -> str:
    """Return the text with nothing left in it that a tokenizer could read as a special token, or a reader as a new speaker."""
    text = _ANGLE.sub(_QUOTE, text)
    text = _BRACKETS.sub(r"(\1)", text)
    return _HEADER.sub(_without_colon, text)


def is_role(word: str) -> bool:
    """Whether a word names a speaker of a template."""
    return unicodedata.normalize("NFKC", word).strip("_").casefold() in _ROLES


def find_special_token(text: str) -> int | None:
    """Return where the first special token that a model wrote begins; words in brackets count when they are in capitals."""
    starts = [found.start() for found in _ANGLE.finditer(text)]
    starts += [found.start() for found in _BRACKETS.finditer(text) if found[1].isupper()]
    return min(starts, default=None)


def _without_colon(header: re.Match[str]) -> str:
    before, word, gap = header.groups()
    return f"{before}{word}{gap} -" if is_role(word) else header[0]
