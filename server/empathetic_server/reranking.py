"""Chooses among several replies to one message. Pure; knows no model and no conversation store.

Dropped is a reply that is `empty`, `harmful` (the guard ended it), `cheerful` or `condoling` where that jars (`reply_tone`), or
`repeated`: one of the earlier replies, the message itself, or for the most part its own words once more. Where nobody knows how a message
feels and most drafts cheer, it may be good news: neither cheer nor condolence is sure to fit, and both are dropped. Of the rest, the one
with the highest score is taken, the first of equals:

    + 1.0   times its merit: how probable the model finds it after this message, more than after any message (below)
    + 0.5   sympathy where the message is painful, joy where it is happy
    - 0.5   when the classifier finds it pleasant without sympathy in it, where the message is not happy
    - 2.0   times the share of its word pairs that it says twice, and again of those that an earlier reply had
    - 1.0   when it was cut off

A reply's merit is a difference of log-likelihoods, after Li et al., "A Diversity-Promoting Objective Function for Neural Conversation
Models" (NAACL 2016, MMI-antiLM): "I'm sorry to hear that" is probable, but so it is after any message. It is divided by the root of the
reply's length: by nothing, short replies would win, by the length, long ones. The weights are set by hand, by reading replies to messages
of our own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from typing import Literal

from .emotions import EmotionReading
from .reply_tone import Mood, is_cheerful, is_sympathetic, jars

Objection = Literal["empty", "harmful", "cheerful", "condoling", "repeated"]

# How much of what is probable after any message is taken off; with all of it, odd replies would win.
_ANY_WEIGHT = 0.5
# Of a reply's word pairs: from here on it is the same reply.
_SAME = 0.8
# From here on it goes round in circles.
_ENDLESS = 0.5
# The valence of the mildest pleasant label, with nothing beside it that weighs against.
_PLEASANT = 0.4
_WORD = re.compile(r"\w+(?:'\w+)?")


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


def merit(log_likelihood: float, after_any: float, tokens: int) -> float:
    """Return how much a reply is one to this message.

    Args:
        log_likelihood: of the reply after the conversation, of all its tokens together.
        after_any: of the same reply after a message that says nothing.
        tokens: of the reply.
    """
    return (log_likelihood - _ANY_WEIGHT * after_any) / sqrt(tokens)


def score(draft: Draft, reading: EmotionReading | None, setting: Setting) -> float:
    """Return how good a draft is that nothing speaks against, without its merit; see above."""
    said_before = max((_likeness(draft.text, text) for text in setting.earlier), default=0.0)
    return _fit(draft.text, reading, setting.mood) - 2.0 * (_said_twice(_words(draft.text)) + said_before) - float(draft.is_cut_off)


def choose(
    drafts: Sequence[Draft], readings: Sequence[EmotionReading | None], merits: Sequence[float], setting: Setting
) -> tuple[Draft | None, list[Objection]]:
    """Return the best draft, None when all are dropped, and why the others were.

    Args:
        drafts: what was written.
        readings: the emotions of each, None where no classifier answered.
        merits: of each, all 0 where the engine cannot tell.
        setting: what they answer.
    """
    objections = [objection(draft, reading, setting) for draft, reading in zip(drafts, readings, strict=True)]
    if setting.mood == "open" and objections.count("cheerful") > len(drafts) / 2:
        good_news = replace(setting, mood="happy")
        objections = [
            against or objection(draft, reading, good_news) for draft, reading, against in zip(drafts, readings, objections, strict=True)
        ]
    scored = [
        (worth + score(draft, reading, setting), draft)
        for draft, reading, worth, against in zip(drafts, readings, merits, objections, strict=True)
        if against is None
    ]
    _, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return best, [against for against in objections if against is not None]


def _fit(text: str, reading: EmotionReading | None, mood: Mood) -> float:
    if mood == "happy":
        return 0.5 * is_cheerful(text)
    if is_sympathetic(text):
        return 0.5 * (mood == "painful")
    return -0.5 if reading is not None and reading.confident and reading.valence >= _PLEASANT else 0.0


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


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("\u2019", "'"))
