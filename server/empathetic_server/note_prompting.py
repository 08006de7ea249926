"""Builds the prompt of our own small responder: a note in place of instructions, then the newest messages that fit. Pure.

    <feelings> | <strategy> | <stage>[ | <name>]          sadness, grief | reflect | initial
                                                          joy? | question | middle | Ana
                                                          neutral | affirm | advanced

The model was trained on exactly this, by `empathetic_train.responder.notes`; the two are held together by `tests/contract`. As in
`prompting`, only labels and the validated name enter the note, and the person's text is neutralized everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import dropwhile
from typing import Any

from .engines.protocols import ChatMessage
from .history import MESSAGE_TOKENS, first_kept, merged, without_middle
from .prompting import name_was_used
from .sessions.protocols import Message
from .special_tokens import neutralize
from .strategies import ReplyPlan

_UNKNOWN = "unknown"
_NEUTRAL = "neutral"
_MAX_LABELS = 3
# What phones write for what the model was trained on.
_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..."})


def build_note_prompt(
    *,
    messages: Sequence[Message],
    plan: ReplyPlan,
    emotion: Mapping[str, Any] | None,
    user_name: str | None,
    budget: int,
    count_tokens: Callable[[str], int],
) -> tuple[ChatMessage, ...]:
    """Build a prompt: the note as the system's message, then user and assistant in turn, the last the message to answer.

    What no longer fits is left out, oldest first; a last message that is too long loses its middle.

    Args:
        messages: the conversation, oldest first; the last is the user's.
        plan: what the reply should do.
        emotion: of the last message: an element of `data` in the wire contract.
        user_name: what the person wants to be called, validated.
        budget: the most tokens that the prompt may have.
        count_tokens: returns the tokens of a text.
    """
    cost = cache(lambda text: count_tokens(text) + MESSAGE_TOKENS)
    note = write_note(emotion, plan, None if name_was_used(messages, user_name) else user_name)
    said = [replace(message, text=_in_one_line(message.text)) for message in messages if message.text.strip() or message is messages[-1]]
    said = list(dropwhile(lambda message: message.role == "assistant", said))
    room = budget - cost(note)
    kept = merged(said[first_kept(said, room, cost) :], between=" ")
    room -= sum(cost(message.text) for message in kept[1:])
    text = kept[0].text
    kept[0] = ChatMessage("user", text if cost(text) <= room else without_middle(text, room, cost))
    return (ChatMessage("system", note), *kept)


def write_note(emotion: Mapping[str, Any] | None, plan: ReplyPlan, name: str | None) -> str:
    """Return the note."""
    parts = [_feelings(emotion), plan.strategy, plan.stage]
    return " | ".join([*parts, name] if name else parts)


def _feelings(emotion: Mapping[str, Any] | None) -> str:
    if emotion is None:
        return _UNKNOWN
    labels: list[str] = [found["label"] for found in emotion["emotions"] if found["label"] != _NEUTRAL]
    if not labels:
        return _NEUTRAL
    return ", ".join(labels[:_MAX_LABELS]) if emotion["confident"] else f"{labels[0]}?"


def _in_one_line(text: str) -> str:
    return " ".join(neutralize(text).translate(_PLAIN).split())
