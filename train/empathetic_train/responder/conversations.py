"""What every source is turned into: conversations of a user and the one who replies. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "reply"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn; `strategies` are the source's own names for what a reply does, or empty."""

    role: Role
    text: str
    strategies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; two that follow each other may have the same role."""

    source: str
    turns: tuple[Turn, ...]


def fingerprint(text: str) -> str:
    """Return what stays of a text when spelling, case and marks are taken away, to find the same text in another file."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def merged(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Join turns of the same role that follow each other; the strategies are those of all of them."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            last = joined.pop()
            turn = Turn(turn.role, f"{last.text} {turn.text}", last.strategies + turn.strategies)  # noqa: PLW2901  # the joined turn
        joined.append(turn)
    return tuple(joined)


def alternating(texts: list[str], last: Role) -> tuple[Turn, ...]:
    """Give roles in turn to texts of two people, so that the last has `last`."""
    other: Role = "user" if last == "reply" else "reply"
    return tuple(Turn(last if (len(texts) - index) % 2 else other, text) for index, text in enumerate(texts))
