"""Chooses how to support a person: Hill's helping skills as ESConv uses them. Pure; knows no model and no HTTP.

Hill (2009) goes from exploring (ask, restate, reflect feelings) by way of insight to action (suggest, inform); ESConv (Liu et al.,
2021) found the same order in good support conversations. Self-disclosure is left out: a machine has nothing true to disclose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .emotions import EmotionGroup
from .trajectory import Stage, State

Strategy = Literal["question", "restate", "reflect", "affirm", "suggest", "inform"]
# What the person just did besides telling: gave their name, refused to, or neither.
Moment = Literal["introduced", "name_refused", "ordinary"]


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """What a reply should do; it holds no text of the person's.

    Attributes:
        group: the group of the strongest emotion; neutral where no classifier answered.
        used: the replies of this conversation so far, oldest first; a written reply does not repeat one.
        seed: what written replies vary by where nothing else tells them apart, so that not every conversation begins alike.
    """

    group: EmotionGroup
    stage: Stage
    state: State
    strategy: Strategy
    moment: Moment = "ordinary"
    used: tuple[str, ...] = ()
    seed: str = ""


# What suits each stage, best first. Nobody who has just begun to tell wants advice; later on, nobody wants only questions.
_BY_STAGE: dict[Stage, tuple[Strategy, ...]] = {
    "initial": ("reflect", "question", "restate"),
    "middle": ("question", "affirm", "reflect", "restate"),
    "advanced": ("affirm", "suggest", "question", "reflect", "inform"),
}
# Good news wants interest and a shared joy, not help.
_JOYFUL: tuple[Strategy, ...] = ("affirm", "question", "restate")
# While things get worse, being understood comes before being advised.
_SINKING: tuple[Strategy, ...] = ("reflect", "affirm", "question", "restate")
_OPEN: tuple[Strategy, ...] = ("question", "restate", "affirm")


def choose_strategy(*, group: EmotionGroup, stage: Stage, state: State, asks: bool, previous: Sequence[Strategy]) -> Strategy:
    """Choose the next strategy: of those that suit, the one whose last use is longest ago; never the same twice running.

    What suits, the first line that holds:
        the person asks something, and not at the beginning    inform, suggest, question
        the strongest emotion is a joyful one                  affirm, question, restate
        the emotions are declining or negative, not advanced   reflect, affirm, question, restate
        no emotion stands out                                  question, restate, affirm
        otherwise, by stage                                    see `_BY_STAGE`

    Args:
        group: the group of the strongest emotion.
        stage: how far the conversation is.
        state: how the emotions have moved.
        asks: whether the person asked something.
        previous: the strategies of earlier replies, oldest first.
    """
    suited = _suited(group, stage, state, asks)
    age = {strategy: index for index, strategy in enumerate(previous)}
    candidates = [strategy for strategy in suited if not previous or strategy != previous[-1]]
    return min(candidates, key=lambda strategy: age.get(strategy, -1))


def _suited(group: EmotionGroup, stage: Stage, state: State, asks: bool) -> tuple[Strategy, ...]:
    if asks and stage != "initial":
        return ("inform", "suggest", "question")
    if group == "joy":
        return _JOYFUL
    if state in ("declining", "negative") and stage != "advanced":
        return _SINKING
    if group == "neutral":
        return _OPEN
    return _BY_STAGE[stage]
