"""Writes the note: the compact system message that tells this small model what the server knows. Pure.

    <feelings> | <strategy> | <stage>[ | <name>]          sadness, grief | reflect | initial
                                                          joy? | question | middle | Ana
                                                          neutral | affirm | advanced

A long system prompt in prose would fill the window of a small model, and it could not follow it. The server builds the note for this
model from what it puts into its own system prompt:

- feelings: the labels of the last message at or above their thresholds, best first, three at most, without "neutral"; "neutral" when
  nothing else is left. Where no label reached its threshold, the best one with a question mark, or "neutral". "unknown" where no
  classifier answered.
- strategy: `ReplyPlan.strategy`, one of `strategies.SENT`.
- stage: `ReplyPlan.stage`.
- name: what the person wants to be called, and only where the reply may say it: not where one of the last replies did
  (`prompting.name_was_used`).

Only labels and the validated name enter it, never the person's text. The chat template puts it right before the reply, where a small
model heeds it most, and where it leaves the prompt's beginning the same from turn to turn. Without a system message there is no note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = "unknown"
NEUTRAL = "neutral"
_MAX_LABELS = 3


@dataclass(frozen=True, slots=True)
class Feelings:
    """What the classifier found in a message: labels, best first, and whether any reached its threshold."""

    labels: tuple[str, ...]
    confident: bool


def stage_of(user_messages: int) -> str:
    """Return how far a conversation is, by the number of the person's messages, as the server counts."""
    if user_messages <= 1:
        return "initial"
    return "middle" if user_messages <= 3 else "advanced"


def write_note(feelings: Feelings | None, strategy: str, stage: str, name: str | None = None) -> str:
    """Return the note; see above."""
    parts = [_feelings(feelings), strategy, stage]
    return " | ".join([*parts, name] if name else parts)


def _feelings(feelings: Feelings | None) -> str:
    if feelings is None:
        return UNKNOWN
    labels: Sequence[str] = [label for label in feelings.labels if label != NEUTRAL]
    if not labels:
        return NEUTRAL
    return ", ".join(labels[:_MAX_LABELS]) if feelings.confident else f"{labels[0]}?"
