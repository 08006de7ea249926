"""Fits a conversation into a window: which messages a prompt keeps, and what is left of one that is too long. Pure; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from .engines.protocols import ChatMessage
from .sessions.protocols import Message

# What a template adds to a message: its role and two or three special tokens; ChatML and Llama 3, the longest in use, add 5 to 7.
MESSAGE_TOKENS = 8


def first_kept(said: Sequence[Message], room: int, cost: Callable[[str], int]) -> int:
    """Return the index of the oldest user's message from which everything fits; the last one, if nothing does."""
    first = len(said) - 1
    for index in reversed(range(len(said))):
        room -= cost(said[index].text)
        if room < 0:
            break
        if said[index].role == "user":
            first = index
    return first


def merged(said: Sequence[Message], between: str = "\n\n") -> list[ChatMessage]:
    """Return messages as user and assistant in turn."""
    turns = groupby(said, key=lambda message: message.role)
    return [ChatMessage(role, between.join(message.text for message in turn)) for role, turn in turns]


def without_middle(text: str, room: int, cost: Callable[[str], int]) -> str:
    """Return the longest beginning and end of a text that fit, found by halving."""
    best, low, high = "…", 1, len(text) // 2
    while low <= high:
        half = (low + high) // 2
        shorter = f"{text[:half].rstrip()} … {text[-half:].lstrip()}"
        if cost(shorter) <= room:
            best, low = shorter, half + 1
        else:
            high = half - 1
    return best
