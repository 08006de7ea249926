"""Chooses among several replies to one message. Pure; knows no model and no conversation store.

Dropped is a reply that is `empty`, `harmful` (the guard ended it), `cheerful` or `condoling` where that jars (`reply_tone`), or `repeated`:
one of the earlier replies, the message itself, or for the most part its own words once more. Of the rest, the one with the highest score is
taken, the first of equals:

    + 1.0   sympathy where the message is painful, joy where it is happy
    - 1.0   when the classifier finds it pleasant without sympathy in it, where the message is not happy
    + 1.0   times the length: a full point from 8 words up, less below
    + 0.5   for each word of weight that it shares with the message, up to three: the reply is about what was said
    - 1.0   when it has no word of weight of its own: a stock phrase
    - 2.0   times the share of its word pairs that it says twice, and again of those that an earlier reply had
    - 1.0   when it was cut off

The weights are set by hand. The engines do not tell how probable a reply was, so that is not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .emotions import EmotionReading
from .reply_tone import Mood, is_cheerful, is_sympathetic, jars

Objection = Literal["empty", "harmful", "cheerful", "condoling", "repeated"]

_ENOUGH_WORDS = 8
_MAX_SHARED = 3
# Of a reply's word pairs: from here on it is the same reply.
_SAME = 0.8
# From here on it goes round in circles.
_ENDLESS = 0.5
# The valence of the mildest pleasant label, with nothing beside it that weighs against.
_PLEASANT = 0.4
_WORD = re.compile(r"\w+(?:'\w+)?")
# Long enough that endings do not matter ("worked", "working"), short enough for most words.
_STEM_CHARS = 5
# Words without weight: of grammar, of stock phrases, and of talk about talking.
_LIGHT = frozenset(
    """
    a about after again all also always am an and any are as at be been because before being but by can can't come could did didn't do does
    doesn't doing don't down even ever every for from get go going got had has have haven't having he he's her here him his how i i'd i'll
    i'm i've if in into is isn't it it's its just know let like make many maybe me more most much must my never no not now of off oh ok okay
    on one only or other our out over really right said say see she she's should so some something sort still such than that that's the
    their them then there there's these they they're thing things think this those though to too up us very was wasn't way we well were
    what what's when where which while who why will with would wouldn't yeah yes yet you you'd you'll you're you've your
    sorry hear sound sounds bad good great nice hard tough rough awful terrible hope feel feeling feelings felt understand wow aw aww tell
    told talk happen happened happens better luck fine sure true thank thanks want wish imagine mean glad happy sad interesting
    """.split()  # noqa: SIM905  # as a list it would be five times as long
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole reply, cleaned, that nobody has seen.

    Attributes:
        text: what a person would read; empty where nothing is fit to be shown.
        is_cut_off: whether it reached the limit of its length.
        harm: which kind of harm it was about to say, by the guard.
        tokens: its tokens by the generator's own count.
    """

    text: str
    is_cut_off: bool
    harm: str | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What a reply is judged by: the message, its mood, and the latest replies before."""

    message: str
    mood: Mood
    earlier: tuple[str, ...]


def objection(draft: Draft, reading: EmotionReading | None, setting: Setting) -> Objection | None:
    """Return why a draft must not be shown, if it must not."""
    if draft.harm is not None:
        return "harmful"
    if not draft.text:
        return "empty"
    jar = jars(draft.text, reading, setting.mood)
    if jar is not None:
        return jar
    is_same = any(_likeness(draft.text, text) >= _SAME for text in (*setting.earlier, setting.message))
    return "repeated" if is_same or _said_twice(_words(draft.text)) >= _ENDLESS else None


def score(draft: Draft, reading: EmotionReading | None, setting: Setting) -> float:
    """Return how good a draft is that nothing speaks against; see above."""
    words = _words(draft.text)
    shared = len(_weights(words) & _weights(_words(setting.message)))
    said_before = max((_likeness(draft.text, text) for text in setting.earlier), default=0.0)
    return (
        _fit(draft.text, reading, setting.mood)
        + min(len(words), _ENOUGH_WORDS) / _ENOUGH_WORDS
        + 0.5 * min(shared, _MAX_SHARED)
        - (0.0 if _weights(words) else 1.0)
        - 2.0 * (_said_twice(words) + said_before)
        - (1.0 if draft.is_cut_off else 0.0)
    )


def choose(drafts: Sequence[Draft], readings: Sequence[EmotionReading | None], setting: Setting) -> tuple[Draft | None, list[Objection]]:
    """Return the best draft, None when all are dropped, and why the others were.

    Args:
        drafts: what was written.
        readings: the emotions of each, None where no classifier answered.
        setting: what they answer.
    """
    objections = [objection(draft, reading, setting) for draft, reading in zip(drafts, readings, strict=True)]
    scored = [
        (score(draft, reading, setting), draft)
        for draft, reading, against in zip(drafts, readings, objections, strict=True)
        if against is None
    ]
    _, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return best, [against for against in objections if against is not None]


def _fit(text: str, reading: EmotionReading | None, mood: Mood) -> float:
    if mood == "happy":
        return float(is_cheerful(text))
    if is_sympathetic(text):
        return float(mood == "painful")
    return -1.0 if reading is not None and reading.confident and reading.valence >= _PLEASANT else 0.0


def _likeness(text: str, other: str) -> float:
    """Return the share of a text's word pairs that the other text has, too; of single words in a text of one."""
    words, others = _words(text), _words(other)
    if len(words) < 2:
        return float(words == others)
    pairs = set(pairwise(others))
    return sum(pair in pairs for pair in pairwise(words)) / (len(words) - 1)


def _said_twice(words: Sequence[str]) -> float:
    """Return the share of word pairs that were there before."""
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def _weights(words: Sequence[str]) -> set[str]:
    return {word[:_STEM_CHARS] for word in words if word not in _LIGHT and len(word) > 2}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("\u2019", "'"))
