"""Decides, sentence by sentence, what of a reply is shown, and when it has said enough. Pure; knows no markup."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .openings import Openings, can_follow, keys_of

# A friend's message; the system prompt asks for it as well.
_MAX_SENTENCES = 3
_MAX_WORDS = 60
# From here on a sentence is shown only when it is complete, because the end may be near.
_WHOLE_FROM_WORDS = 45
# Nobody writes such a sentence: the model goes on without an end.
_HARD_STOP_WORDS = 120

# They read well after any word.
_CLOSINGS = (
    "… sorry, I lost my thread for a moment. Could you tell me a little more?",
    "… hm, I lost my words there. What feels most important to you right now?",
    "… sorry, that thought slipped away from me. Would you tell me more?",
)

# After these words a name needs no comma to be a call.
_GREETINGS = frozenset(["hey", "hi", "hello", "oh", "aw", "thanks"])
MARKS = ".,;!?…"
_PAUSES = ",;:-\u2013\u2014"
_CLOSING_QUOTES = "\"'\u2019\u201d"
_DASH = re.compile(r"[&\u2013\u2014-]")
_EMOTICON = re.compile(r"[:;]'?-?[()]+")
_ABBREVIATION = re.compile(r"(?:\b(?:mr|mrs|ms|dr|st|prof|vs|[a-z]\.[a-z])|^\d{1,2})\.$", re.IGNORECASE)


class Sentences:
    """Puts words together and decides, sentence by sentence, what is shown."""

    def __init__(self, openings: Sequence[Openings]) -> None:
        self.ended = False
        self._openings = openings
        self._shown: list[str] = []
        self._has_shown = False
        self._sentence_count = 0
        self._word_count = 0
        self._begin()

    def _begin(self) -> None:
        self._length = 0
        self._held: list[str] = []
        self._trailing = ""
        self._last = ""
        self._nodes = [*self._openings]
        self._dropped = False
        self._released = False

    @property
    def started(self) -> bool:
        """Whether the reply has a word."""
        return self._has_shown or (self._length > 0 and not self._dropped)

    @property
    def between(self) -> bool:
        """Whether the next word begins a sentence."""
        return self._length == 0

    def calls(self, marks: str) -> bool:
        """Whether a name that comes now, with these marks after it, is a call and no part of the sentence."""
        if self.between:
            return bool(marks)
        return marks.startswith(",") or self._trailing == "," or self._last.casefold() in _GREETINGS

    def take(self) -> str:
        """Return what was shown since the last call."""
        text = "".join(self._shown)
        self._shown.clear()
        return text

    def foresee(self, begun: str) -> bool:
        """Show what is held once the word under way cannot make it a forbidden opening.

        Args:
            begun: the first letters of the word that comes next, unless the reply ends before; small and Latin.

        Returns:
            whether that word is the next to be shown.
        """
        is_certain = (
            not (self.ended or self._dropped or any(can_follow(begun, node) for node in self._nodes))
            and self._word_count < _WHOLE_FROM_WORDS
            and self._word_count + self._length < _HARD_STOP_WORDS
        )
        if is_certain:
            self._release()
        return is_certain

    def end_line(self) -> None:
        """End a sentence that is dropped, since a heading such as "Here is a response:" has no final mark."""
        if self._dropped:
            self._end()

    def add(self, word: str) -> None:
        """Take a word with the marks at it, or marks alone."""
        if self._last.endswith("…") and word[:1].isupper():
            self._end()
        if self.ended or not word:
            return
        if not word.strip(MARKS):
            self._add_marks(word)
        elif any(character.isalnum() for character in word) or (_has_picture(word) and not self.between):
            self._add_word(word)
        elif _has_picture(word) and self._has_shown:
            self._shown.append(f" {word}")
            self._count(1)
        elif _DASH.fullmatch(word) and not self.between:
            self._trailing += self._space() + word

    def finish(self, *, complete: bool) -> None:
        """End the reply, unless it has ended.

        Args:
            complete: whether an unfinished sentence lacks its final mark alone.
        """
        if self.ended:
            return
        if complete and not self._dropped:
            self._release()
        if self._released and not _is_final(self._last) and not (complete and _has_picture(self._last)):
            self._shown.append("." if complete else _CLOSINGS[self._length % len(_CLOSINGS)])
        self.ended = True

    def _add_word(self, word: str) -> None:
        if self.between:
            word = word[0].upper() + word[1:]
        self._length += 1
        if self._word_count + self._length > _HARD_STOP_WORDS:
            self.finish(complete=False)
            return
        self._last = word.rstrip(_PAUSES)
        self._held.append(f"{self._trailing}{self._space()}{self._last}")
        self._trailing = word[len(self._last) :]
        self._follow(word)

    def _add_marks(self, marks: str) -> None:
        if self.between:
            return
        self._trailing = ""
        if marks[0] in ",;":
            self._trailing = marks[0]
        elif not _is_final(self._last):
            self._held.append(marks)
            self._last += marks
        self._follow(marks)

    def _follow(self, text: str) -> None:
        """Follow the openings along a text that was just held, then show it, hold it or drop it."""
        for key in keys_of(text):
            children = [node[key] for node in self._nodes if key in node]
            self._dropped = self._dropped or any("!" in child for child in children)
            roots = self._openings if any("+" in child for child in children) else ()
            self._nodes = [*children, *roots, *(self._nodes if key == "," else ())]
        if self._dropped:
            self._held.clear()
        if _ends_sentence(text):
            self._end()
        elif not self._nodes and self._word_count < _WHOLE_FROM_WORDS:
            self._release()

    def _end(self) -> None:
        if not self._dropped:
            self._release()
            self._sentence_count += 1
            self._count(self._length)
        self._begin()

    def _count(self, words: int) -> None:
        self._word_count += words
        self.ended = self._sentence_count >= _MAX_SENTENCES or self._word_count >= _MAX_WORDS

    def _release(self) -> None:
        if self._held:
            self._shown.extend(self._held)
            self._held.clear()
            self._has_shown = self._released = True

    def _space(self) -> str:
        return " " if self._has_shown or self._held else ""


def _ends_sentence(word: str) -> bool:
    core = word.rstrip(_CLOSING_QUOTES + ")")
    return core.endswith((".", "!", "?")) and not _ABBREVIATION.search(core)


def _is_final(word: str) -> bool:
    """Whether nothing is missing after a word when the reply ends with it."""
    return word.rstrip(_CLOSING_QUOTES).endswith((".", "!", "?", "…", ")"))


def _has_picture(word: str) -> bool:
    """Whether a word is an emoticon or holds an emoji."""
    return bool(_EMOTICON.fullmatch(word)) or any(unicodedata.category(character) == "So" for character in word)
