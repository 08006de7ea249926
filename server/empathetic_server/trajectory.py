"""How a person's emotions change over a conversation. Pure; knows no model, no session store and no HTTP.

A turn is one message of the person, with the valence of its emotions, -1 to 1, or None where no classifier answered.
A turn is *pleasant* from +0.2 up, *unpleasant* from -0.2 down, and *flat* between. All rules read classified turns only.

Runs: a pleasant turn adds one to the positive run and ends the negative one; an unpleasant turn does the opposite; a flat turn
changes neither, so that "ok." between two sad messages does not end the sadness.

State, the first rule that holds:
    unknown    fewer than two turns
    neutral    the last three turns are flat
    positive   a positive run of two or more
    negative   a negative run of two or more
    improving  the last turn lies 0.3 or more above the mean of the (up to two) turns before it
    declining  it lies 0.3 or more below
    neutral    otherwise

Stage, by the number of the person's messages, classified or not: one is initial, two and three are middle, then advanced.

The stages, runs and the order of the rules are those of the tutorial that this project follows; there a turn counted by its
top label alone, here by its valence. Turning every valence round (v to -v) exchanges positive with negative and improving
with declining, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["unknown", "positive", "negative", "improving", "declining", "neutral"]
Stage = Literal["initial", "middle", "advanced"]

# Half of the mildest label's valence (0.4): a turn counts when a mild emotion outweighs neutral.
PLEASANT = 0.2
# More than the step between two neighbouring strengths of the valence table (0.2), so that it takes another kind of emotion.
CHANGE = 0.3


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the person; `primary` and `valence` are None where no classifier answered."""

    message_id: str
    primary: str | None
    valence: float | None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A conversation's emotions and what follows from them."""

    turns: tuple[Turn, ...]
    state: State
    stage: Stage
    positive_run: int
    negative_run: int

    def as_dict(self) -> dict[str, Any]:
        """Return the object of the wire contract."""
        turns = [{"message_id": turn.message_id, "primary": turn.primary, "valence": turn.valence} for turn in self.turns]
        return {"turns": turns, "state": self.state, "stage": self.stage}


def follow(turns: Sequence[Turn]) -> Trajectory:
    """Read a conversation's turns, oldest first."""
    valences = [turn.valence for turn in turns if turn.valence is not None]
    positive_run, negative_run = _runs(valences)
    return Trajectory(tuple(turns), _state(valences, positive_run, negative_run), _stage(len(turns)), positive_run, negative_run)


def _runs(valences: Sequence[float]) -> tuple[int, int]:
    positive = negative = 0
    for valence in valences:
        if valence >= PLEASANT:
            positive, negative = positive + 1, 0
        elif valence <= -PLEASANT:
            positive, negative = 0, negative + 1
    return positive, negative


def _state(valences: Sequence[float], positive_run: int, negative_run: int) -> State:
    if len(valences) < 2:
        return "unknown"
    if len(valences) >= 3 and all(abs(valence) < PLEASANT for valence in valences[-3:]):
        return "neutral"
    if positive_run >= 2:
        return "positive"
    if negative_run >= 2:
        return "negative"
    before = valences[-3:-1]
    change = valences[-1] - sum(before) / len(before)
    if change >= CHANGE:
        return "improving"
    return "declining" if change <= -CHANGE else "neutral"


def _stage(messages: int) -> Stage:
    if messages <= 1:
        return "initial"
    return "middle" if messages <= 3 else "advanced"
