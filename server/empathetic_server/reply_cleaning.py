"""Cleans a reply while it streams: what was shown is never taken back, and what was shown is what is stored.

    characters ─► words ─► without markup ─► without stage directions ─► without the name ─► sentences ─► shown

Every decision is made at the end of a word, so it does not matter how the text was cut into chunks, and a sentence is held back only
while it can still become one that must not be shown. Pure; knows no generator and no conversation.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias

from .persona import NAME
from .special_tokens import find_special_token, is_role

# What no friend says, and talk about the reply or the notes: a sentence that opens so is dropped whole.
_FORBIDDEN = """
i understand how you feel | i understand how you're feeling | i understand what you're going through | i know how you feel
i know exactly how you feel | i hear you | i'm all ears | i'm here for you | i'm always here | i'm here to listen | i'm here to help
i'm here to support | i'm here if you | let me know if there's anything | let me know if you need | let me know how i can
feel free to | don't hesitate | it's okay to feel | it's important to remember | remember, | remember that | thank you for sharing
thanks for sharing | your feelings are valid | your emotions are valid | what you're feeling is valid | i hope this helps
how can i help you | how can i assist | how may i | is there anything else i can | as an ai language model | as an ai model
as a language model | as a large language model | as a therapist | as your therapist
here is a response | here is my response | here is a reply | here is my reply | here is a possible | note: | note that | reply: | answer:
this response | this reply | in this response | in my response | based on the emotion | based on the emotions | based on the detected
based on your emotion | given the emotion | given the user | the user | the detected emotion | my instructions | my system prompt
according to my instructions | according to my notes | according to the notes
"""
# They may come before such an opening, and do not hide it.
_LEADS = """
oh | ah | aw | aww | hm | hmm | wow | well | hey | hi | hello | so | and | but | ok | okay | yes | yeah | no | sure | certainly | absolutely
of course | look | please | just | honestly | sorry | i'm sorry | i'm so sorry | thanks | thank you
"""
# Full forms count as their contractions.
_CONTRACTED = {"am": "'m", "is": "'s", "are": "'re"}
# With fewer words in common with a sentence of the system prompt, it may be chance.
_LEAK_WORDS = 5

# A friend's message; the system prompt asks for it as well.
_MAX_SENTENCES = 3
_MAX_WORDS = 60
# From here on a sentence is shown only when it is complete, because the end may be near.
_WHOLE_FROM_WORDS = 45
# Nobody writes such a sentence: the model goes on without an end.
_HARD_STOP_WORDS = 120
# What is longer is an aside that belongs to the reply.
_MAX_DIRECTION_WORDS = 6

# They read well after any word.
_CLOSINGS = (
    "… sorry, I lost my thread for a moment. Could you tell me a little more?",
    "… hm, I lost my words there. What feels most important to you right now?",
    "… sorry, that thought slipped away from me. Would you tell me more?",
)

# A reply may be headed by who speaks; any other speaker, or this one later, is the model playing both sides.
_OWN_LABELS = frozenset([NAME.casefold(), "assistant", "ai", "response", "reply", "answer"])
# After these words a name needs no comma to be a call.
_GREETINGS = frozenset(["hey", "hi", "hello", "oh", "aw", "thanks"])
_CLOSERS = {"*": "*", "_": "_", "(": ")", "[": "]"}
_ROUND = str.maketrans("[]\uff3b\uff3d\ufe47\ufe48", "()()()")
_ANGLES = "<\uff1c\ufe64\u226e"
_MARKS = ".,;!?…"
_PAUSES = ",;:-\u2013\u2014"
_CLOSING_QUOTES = "\"'\u2019\u201d"

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
# Two small letters, so that "Ph.D." and "U.S." stay in one piece.
_GLUED = re.compile(r"(?<=[a-zà-ÿ]{2}[.!?…])(?=[A-Z])")
_DASH = re.compile(r"[&\u2013\u2014-]")
_EMOTICON = re.compile(r"[:;]'?-?[()]+")
_ABBREVIATION = re.compile(r"(?:\b(?:mr|mrs|ms|dr|st|prof|vs|[a-z]\.[a-z])|^\d{1,2})\.$", re.IGNORECASE)
_KEY = re.compile(r"'?\w+|[,:]")

# From key to key; the entries "!" and "+", which are no keys, mark the ends of forbidden openings and of lead-ins.
_Openings: TypeAlias = "dict[str, _Openings]"


class ReplyCleaner:
    """Turns what a model writes into what a person reads.

    Args:
        system_prompt: a sentence that begins as one of its sentences is dropped.
        user_name: what the person wants to be called; a reply calls them so once at most.
        name_used: whether an earlier reply did a moment ago, so that this one does not.
    """

    def __init__(self, system_prompt: str, user_name: str | None, name_used: bool) -> None:
        self._sentences = _Sentences(_openings(system_prompt, user_name))
        self._name = (user_name or "").casefold().rstrip(_MARKS)
        self._name_used = name_used
        self._name_part: list[str] = []
        self._word: list[str] = []
        self._line_starts = True
        self._quoted = False
        self._group: list[str] = []
        self._closer = ""

    @property
    def ended(self) -> bool:
        """Whether the reply is complete, so that the generator should stop."""
        return self._sentences.ended

    def feed(self, text: str) -> str:
        """Take a piece of the reply and return what may be shown now."""
        for piece in _SPACE.split(text):
            if self.ended:
                break
            if not piece.isspace():
                self._word.append(piece)
                continue
            self._end_word()
            self._line_starts |= bool(piece.strip(" \t"))
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
                self._group = [word[len(word.rstrip(_MARKS)) :]]
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
        name = said.rstrip(_MARKS)
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


class _Sentences:
    """Puts words together and decides, sentence by sentence, what is shown."""

    def __init__(self, openings: _Openings) -> None:
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
        self._nodes = [self._openings]
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
        if not word.strip(_MARKS):
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
        for key in _keys(text):
            children = [node[key] for node in self._nodes if key in node]
            self._dropped = self._dropped or any("!" in child for child in children)
            roots = [self._openings for child in children if "+" in child]
            self._nodes = children + roots + (self._nodes if key == "," else [])
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


def _openings(system_prompt: str, user_name: str | None) -> _Openings:
    root: _Openings = {}
    sentences = re.split(r"(?<=[.!?:])\s|\n", system_prompt)
    leaks = [" ".join(words[:_LEAK_WORDS]) for sentence in sentences if len(words := sentence.strip("- ").split()) >= _LEAK_WORDS]
    leads = [*re.split(r"[|\n]", _LEADS), user_name or ""]
    for phrases, end in (([*re.split(r"[|\n]", _FORBIDDEN), *leaks], "!"), (leads, "+")):
        for keys in filter(None, map(_keys, phrases)):
            node = root
            for key in keys:
                node = node.setdefault(key, {})
            node[end] = {}
    return root


def _keys(text: str) -> list[str]:
    """Return what counts of a text when openings are compared: words without case, commas and colons."""
    keys: list[str] = _KEY.findall(text.casefold().replace("\u2019", "'"))
    return [_CONTRACTED.get(key, key) for key in keys]


def _without_label(word: str) -> str:
    word = word.lstrip("#")
    label = _SPEAKER.search(word)
    return word[label.end() :] if label and label[1].casefold() in _OWN_LABELS else word


def _ends_sentence(word: str) -> bool:
    core = word.rstrip(_CLOSING_QUOTES + ")")
    return core.endswith((".", "!", "?")) and not _ABBREVIATION.search(core)


def _is_final(word: str) -> bool:
    """Whether nothing is missing after a word when the reply ends with it."""
    return word.rstrip(_CLOSING_QUOTES).endswith((".", "!", "?", "…", ")"))


def _one_mark(run: re.Match[str]) -> str:
    return next((mark for mark in "?!,;" if mark in run[0]), "…")


def _has_picture(word: str) -> bool:
    """Whether a word is an emoticon or holds an emoji."""
    return bool(_EMOTICON.fullmatch(word)) or any(unicodedata.category(character) == "So" for character in word)
