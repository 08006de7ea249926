"""Cleans a reply while it streams: what was shown is never taken back, and what was shown is what is stored.

    characters ─► words ─► without markup ─► without stage directions ─► without the name ─► sentences ─► shown

Every decision is made at the end of a word, so it does not matter how the text was cut into chunks, and a sentence is held back only
while it can still become one that must not be shown: often the first letters of the next word tell that it cannot.
Pure; knows no generator and no conversation.
"""

from __future__ import annotations

import re
from typing import Literal

from .openings import openings
from .persona import NAME
from .sentences import MARKS, Sentences
from .special_tokens import find_special_token, is_role

# What is longer is an aside that belongs to the reply.
_MAX_DIRECTION_WORDS = 6

# A reply may be headed by who speaks; any other speaker, or this one later, is the model playing both sides.
_OWN_LABELS = frozenset([NAME.casefold(), "assistant", "ai", "response", "reply", "answer"])
_CLOSERS = {"*": "*", "_": "_", "(": ")", "[": "]"}
_ROUND = str.maketrans("[]\uff3b\uff3d\ufe47\ufe48", "()()()")
_ANGLES = "<\uff1c\ufe64\u226e"
_SPACE = re.compile(r"(\s+)")
_LIST_ITEM = re.compile(r"[-+•\u2013>]+|#{1,2}|\d{1,2}[.)]")
_EMPHASIS = re.compile(r"[*`]+|__+|~~+|\b_|_\b")
_SPEAKER = re.compile(r"(?<!\w)(\w+)[:\uff1a]")
_DIRECTION = re.compile(
    r"\(?(?:\w+ly )?(?:(?:smil|nodd|laugh|chuckl|giggl|grinn)(?:es|s|ing)|(?:nod|sigh|paus|grin|lean|hug|wink|wav|shrug|blush|listen"
    r"|whisper|reach|look|think)(?:es|s))\b",
    re.IGNORECASE,
)
_QUOTES = re.compile('["“”]')
_REPEATED = re.compile(r"[!?.…]{2,}|,{2,}|;{2,}")
# As many of a word's first letters as are looked at before it is complete; no opening has a longer word.
_FORESEEN_LETTERS = 16
_LETTERS = re.compile(rf"[A-Za-z]{{1,{_FORESEEN_LETTERS}}}")
# Two small letters, so that "Ph.D." and "U.S." stay in one piece.
_GLUED = re.compile(r"(?<=[a-zà-ÿ]{2}[.!?…])(?=[A-Z])")


class ReplyCleaner:
    """Turns what a model writes into what a person reads.

    Args:
        system_prompt: a sentence that begins as one of its sentences is dropped.
        user_name: what the person wants to be called; a reply calls them so once at most.
        name_used: whether an earlier reply did a moment ago, so that this one does not.

    Attributes:
        coming: the first letters, in small ones, of what is shown next unless the reply ends before; empty where that is not certain.
    """

    def __init__(self, system_prompt: str, user_name: str | None, name_used: bool) -> None:
        self._sentences = Sentences(openings(system_prompt, user_name))
        self._name = (user_name or "").casefold().rstrip(MARKS)
        self._name_used = name_used
        self._name_part: list[str] = []
        self._word: list[str] = []
        self._line_starts = True
        self._quoted = False
        self._group: list[str] = []
        self._closer = ""
        self.coming = ""

    @property
    def ended(self) -> bool:
        """Whether the reply is complete, so that the generator should stop."""
        return self._sentences.ended

    def feed(self, text: str) -> str:
        """Take a piece of the reply and return what may be shown now."""
        for piece in _SPACE.split(text):
            if self.ended:
                break
            if not piece:
                continue
            if not piece.isspace():
                self._word.append(piece)
                continue
            self._end_word()
            self._line_starts |= bool(piece.strip(" \t"))
        self._foresee()
        return self._sentences.take()

    def finish(self, reason: Literal["stop", "length", "broken", "stopped"]) -> str:
        """Return the last piece.

        Args:
            reason: the model was done, reached its limit, or failed; or the person stopped it, and nothing more is shown.
        """
        if reason == "stopped":
            return ""
        if reason == "stop" or "".join(self._word).endswith((".", "!", "?")):
            self._end_word()
        if reason == "stop":
            self._end()
        else:
            self._sentences.finish(complete=False)
        return self._sentences.take()

    def _foresee(self) -> None:
        """See what the first letters of the word under way already tell."""
        begun = _LETTERS.match("".join(self._word[:_FORESEEN_LETTERS]))
        letters = begun[0].casefold() if begun else ""
        is_next = letters and not self._group and not self._name_part and not self._name.startswith(letters)
        self.coming = letters if is_next and self._sentences.foresee(letters) else ""

    def _end(self) -> None:
        self._release_group()
        self._release_name()
        self._sentences.finish(complete=True)

    def _end_word(self) -> None:
        word = "".join(self._word)
        self._word.clear()
        if not word:
            return
        if self._line_starts:
            self._sentences.end_line()
        plain = "" if self._line_starts and _LIST_ITEM.fullmatch(word) else _EMPHASIS.sub("", word).rstrip(_ANGLES)
        if not self._sentences.started:
            self._quoted = self._quoted or plain.startswith(('"', "“"))
            plain = _without_label(plain)
        if self._quoted:
            plain = _QUOTES.sub("", plain)
        end = self._find_end(plain)
        self._line_starts = False
        if plain[:end]:
            self._collect(plain[:end], word)
        if end is not None:
            self._end()

    def _find_end(self, word: str) -> int | None:
        """Return where a special token, a heading or another speaker begins."""
        ends = [find_special_token(word), word.find("###") if "###" in word else None]
        for speaker in _SPEAKER.finditer(word):
            opens = self._line_starts or self._sentences.between or speaker.start() > 0
            if is_role(speaker[1]) and (opens or speaker[1].istitle()):
                ends.append(speaker.start())
        return min((end for end in ends if end is not None), default=None)

    def _collect(self, word: str, marked: str) -> None:
        """Hold words in asterisks or brackets until it is clear whether they are a stage direction."""
        if not self._group:
            if marked[0] not in _CLOSERS:
                self._say(word)
                return
            self._closer = _CLOSERS[marked[0]]
            marked = marked.lstrip(marked[0])
        self._group.append(word)
        if self._closer in marked:
            if self._closer == "]" or _DIRECTION.match(" ".join(self._group)):
                self._group = [word[len(word.rstrip(MARKS)) :]]
            self._release_group()
        elif len(self._group) == _MAX_DIRECTION_WORDS:
            self._release_group()

    def _release_group(self) -> None:
        group, self._group = self._group, []
        for word in group:
            self._say(word)

    def _say(self, word: str) -> None:
        word = _REPEATED.sub(_one_mark, word.translate(_ROUND))
        for part in _GLUED.split(word):
            if part:
                self._call(part)

    def _call(self, word: str) -> None:
        """Pass a word on, unless it calls the person by a name that was said."""
        self._name_part.append(word)
        said = " ".join(self._name_part)
        name = said.rstrip(MARKS)
        if self._name and name.casefold() == self._name:
            if self._name_used and self._sentences.calls(said[len(name) :]):
                self._name_part = [said[len(name) :]]
            self._name_used = True
        elif self._name.startswith(f"{said.casefold()} "):
            return
        self._release_name()

    def _release_name(self) -> None:
        for word in self._name_part:
            self._sentences.add(word)
        self._name_part.clear()


def _without_label(word: str) -> str:
    word = word.lstrip("#")
    label = _SPEAKER.search(word)
    return word[label.end() :] if label and label[1].casefold() in _OWN_LABELS else word


def _one_mark(run: re.Match[str]) -> str:
    return next((mark for mark in "?!,;" if mark in run[0]), "…")
