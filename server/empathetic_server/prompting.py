"""Builds the prompt of a reply: the versioned system prompt, then as much of the conversation as the budget holds.

The person's text never enters the system prompt, only labels and the validated name do; everywhere else it is neutralized.
Pure; knows no model, no template and no session store.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import dropwhile
from string import Template
from typing import Any

from .engines.protocols import ChatMessage
from .history import MESSAGE_TOKENS, first_kept, merged, without_middle
from .sessions.protocols import Message
from .special_tokens import neutralize
from .strategies import Moment, ReplyPlan, Strategy
from .trajectory import Stage, State

PROMPT_VERSION = "system-v1"
SYSTEM_PROMPT = (files(__package__) / "prompts" / f"{PROMPT_VERSION}.md").read_text("utf-8")

# Of the budget, for what no longer fits: enough for a dozen quotes in a window of 2,000 tokens, and the rest stays whole.
_NOTE_SHARE = 0.15
_MAX_QUOTES = 12
_QUOTE_CHARS = 80
# Replies for which a name rests after it was said; friends do not say it in every sentence.
_NAME_PAUSE = 3
_MAX_EMOTIONS = 3

_STATES: dict[State, str] = {
    "unknown": "",
    "positive": "They have been feeling good for several messages.",
    "negative": "They have been feeling bad for several messages.",
    "improving": "They seem to feel better than a moment ago.",
    "declining": "They seem to feel worse than a moment ago.",
    "neutral": "Their mood has been even.",
}
_STAGES: dict[Stage, str] = {
    "initial": "The conversation has only just begun.",
    "middle": "You have been talking for a little while.",
    "advanced": "You know each other's thread by now; build on what they told you.",
}
_STRATEGIES: dict[Strategy, str] = {
    "question": "ask one open question that helps them tell you more.",
    "restate": "say in your own few words what you understood, so that they can correct you.",
    "reflect": "say which feeling comes through, simply and without judging it.",
    "affirm": "point out one real strength or good step in what they told you.",
    "suggest": "offer one small idea that they could try, as a choice and not as an order.",
    "inform": "answer what they asked, plainly; where you do not know, say so.",
}
_MOMENTS: dict[Moment, str] = {
    "introduced": "They just told you their name: welcome them, and ask what is on their mind.",
    "name_refused": "They would rather not give a name: that is fine, go on without and do not ask again.",
    "ordinary": "",
}


def build_prompt(
    *,
    messages: Sequence[Message],
    plan: ReplyPlan,
    emotion: Mapping[str, Any] | None,
    user_name: str | None,
    notes: Sequence[str] = (),
    budget: int,
    count_tokens: Callable[[str], int],
) -> tuple[ChatMessage, ...]:
    """Build a prompt: the system's message, then user and assistant in turn, the last the message to answer.

    The newest messages are kept whole as far as the budget goes; what the person said before them is quoted in a short note. A last
    message that is too long loses its middle. The system prompt is always whole, even where it alone exceeds the budget.

    Args:
        messages: the conversation, oldest first; the last is the user's.
        plan: what the reply should do.
        emotion: of the last message: an element of `data` in the wire contract.
        user_name: what the person wants to be called, validated.
        notes: sentences that the system prompt must hold besides its own.
        budget: the most tokens that the prompt may have.
        count_tokens: returns the tokens of a text.
    """
    cost = cache(lambda text: count_tokens(text) + MESSAGE_TOKENS)
    facts = {
        "feelings": _feelings(emotion),
        "state": _STATES[plan.state],
        "stage": _STAGES[plan.stage],
        "name": _name(user_name, name_was_used(messages, user_name)),
        "notes": "\n- ".join(notes),
        "moment": _MOMENTS[plan.moment],
        "strategy": _STRATEGIES[plan.strategy],
    }
    said = [replace(message, text=neutralize(message.text)) for message in messages if message.text.strip() or message is messages[-1]]
    said = list(dropwhile(lambda message: message.role == "assistant", said))
    note_budget = int(budget * _NOTE_SHARE)
    room = budget - cost(_system(facts, ()))
    start = first_kept(said, room, cost)
    if start:
        start = first_kept(said, room - note_budget, cost)
    dropped, kept = said[:start], merged(said[start:])
    prompt = [ChatMessage("system", _system(facts, dropped)), *kept]
    room = budget - sum(cost(message.text) for message in (prompt[0], *kept[1:]))
    text = _with_note(kept[0].text, dropped, note_budget, room, cost)
    prompt[1] = ChatMessage("user", text if cost(text) <= room else without_middle(text, room, cost))
    return tuple(prompt)


def name_was_used(messages: Sequence[Message], user_name: str | None) -> bool:
    """Whether one of the last replies said the name, so that the next should not."""
    if user_name is None:
        return False
    replies = [message.text for message in messages if message.role == "assistant"]
    name = re.compile(rf"(?<!\w){re.escape(user_name)}(?!\w)", re.IGNORECASE)
    return any(name.search(reply) for reply in replies[-_NAME_PAUSE:])


def _system(facts: Mapping[str, str], dropped: Sequence[Message]) -> str:
    filled = Template(SYSTEM_PROMPT).substitute(facts, earlier=_earlier(dropped))
    return "\n".join(line for line in filled.splitlines() if line != "- ")


def _feelings(emotion: Mapping[str, Any] | None) -> str:
    if emotion is None:
        return ""
    emotions = [found for found in emotion["emotions"] if found["label"] != "neutral"]
    if not emotions:
        return "Their message shows no strong feeling."
    if not emotion["confident"]:
        return f"It is not clear what they feel; perhaps {emotions[0]['label']}."
    felt = [f"{found['label']} ({_strength(found['score'])})" for found in emotions[:_MAX_EMOTIONS]]
    return f"They feel {', '.join(felt)}."


def _strength(score: float) -> str:
    if score >= 0.8:
        return "strong"
    return "clear" if score >= 0.5 else "slight"


def _earlier(dropped: Sequence[Message]) -> str:
    primaries = [message.emotion["primary"] for message in dropped if message.emotion is not None]
    felt = [label for label in primaries if label != "neutral"]
    if not felt:
        return ""
    [(most, _)] = Counter(felt).most_common(1)
    return f"Earlier they mostly felt {most}." if felt[-1] == most else f"Earlier they mostly felt {most}, then {felt[-1]}."


def _name(user_name: str | None, name_used: bool) -> str:
    if user_name is None:
        return ""
    use = "You said it a moment ago: do not say it now." if name_used else "Say it only where it comes naturally."
    return f'They asked to be called "{user_name}". {use}'


def _with_note(text: str, dropped: Sequence[Message], note_budget: int, room: int, cost: Callable[[str], int]) -> str:
    """Put quotes of the dropped messages before a text, as many as fit, newest first."""
    quotes: list[str] = []
    noted = text
    for message in [message for message in reversed(dropped) if message.role == "user"][:_MAX_QUOTES]:
        quotes.insert(0, f"“{_first_sentence(message.text)}”")
        note = f"(Earlier I wrote: {' · '.join(quotes)})"
        if cost(note) > note_budget or cost(f"{note}\n\n{text}") > room:
            break
        noted = f"{note}\n\n{text}"
    return noted


def _first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=[.!?…]) ", " ".join(text.split()), maxsplit=1)[0]
    return sentence if len(sentence) <= _QUOTE_CHARS else f"{sentence[: _QUOTE_CHARS - 1]}…"
