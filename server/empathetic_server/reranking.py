"""Chooses among several replies to one message. Pure; knows no model and no conversation store.

Dropped is a reply that is `empty`, `harmful` (the guard ended it), `cheerful` or `condoling` where that jars (`reply_tone`), or
`repeated`: one of the earlier replies, the message itself, or for the most part its own words once more. More is dropped where nobody
knows how a message feels: what is `unrelated`, no more probable after this message than after any, and, where most drafts cheer, so that
it may be good news, what is `condoling` there. Of the rest, the one with the highest score is taken, the first of equals:

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
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

from .emotions import EmotionReading
from .reply_tone import Mood, is_cheerful, is_sympathetic, jars

Objection = Literal["empty", "harmful", "cheerful", "condoling", "repeated", "unrelated"]

# How much of what is probable after any message is taken off; with all of it, odd replies would win.
_ANY_WEIGHT = 0.5
# From here on a draft has to do with the message, in nats a token.
_RELATED = 0.2
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
class Weight:
    """How probable the generator finds a draft.

    Attributes:
        log_likelihood: of the draft after the conversation, of all its tokens together.
        after_any: of the same draft after a message that says nothing.
        tokens: of the draft, its end included.
    """

    log_likelihood: float
    after_any: float
    tokens: int

    @property
    def merit(self) -> float:
        """How much the draft is one to this message."""
        return (self.log_likelihood - _ANY_WEIGHT * self.after_any) / sqrt(self.tokens)

    @property
    def is_related(self) -> bool:
        """Whether the message has made the draft more probable."""
        return self.log_likelihood - self.after_any >= _RELATED * self.tokens


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
    """Return how good a draft is that nothing speaks against, without its merit; see above."""
    said_before = max((_likeness(draft.text, text) for text in setting.earlier), default=0.0)
    return _fit(draft.text, reading, setting.mood) - 2.0 * (_said_twice(_words(draft.text)) + said_before) - float(draft.is_cut_off)


def choose(
    drafts: Sequence[Draft], readings: Sequence[EmotionReading | None], weights: Sequence[Weight | None], setting: Setting
) -> tuple[Draft | None, list[Objection]]:
    """Return the best draft, None when all are dropped, and why the others were.

    Args:
        drafts: what was written.
        readings: the emotions of each, None where no classifier answered.
        weights: of each, None where the generator cannot tell.
        setting: what they answer.
    """
    objections = [objection(draft, reading, setting) for draft, reading in zip(drafts, readings, strict=True)]
    if setting.mood == "open":
        is_good_news = objections.count("cheerful") > len(drafts) / 2
        objections = [
            against or _objection_unless_sure(draft, reading, weight, setting, is_good_news=is_good_news)
            for draft, reading, weight, against in zip(drafts, readings, weights, objections, strict=True)
        ]
    scored = [
        (score(draft, reading, setting) + (0.0 if weight is None else weight.merit), draft)
        for draft, reading, weight, against in zip(drafts, readings, weights, objections, strict=True)
        if against is None
    ]
    _, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return best, [against for against in objections if against is not None]


def _objection_unless_sure(
    draft: Draft, reading: EmotionReading | None, weight: Weight | None, setting: Setting, *, is_good_news: bool
) -> Objection | None:
    """Return what speaks against a draft where nobody knows how the message feels."""
    if is_good_news and jars(draft.text, reading, "happy") is not None:
        return "condoling"
    return "unrelated" if weight is not None and not weight.is_related else None


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
