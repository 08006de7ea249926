"""The server's notes and prompts are those that the responder was trained on: cases go through both."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from empathetic_server.engines.protocols import ChatMessage
from empathetic_server.note_prompting import build_note_prompt, write_note
from empathetic_server.sessions.protocols import Message
from empathetic_server.strategies import ReplyPlan, Strategy
from empathetic_server.trajectory import Stage
from empathetic_train.responder import notes
from empathetic_train.responder.chat import as_messages
from empathetic_train.responder.conversations import Turn, merged
from empathetic_train.responder.notes import Feelings
from empathetic_train.responder.wording import clean

FOUND = (
    None,
    Feelings(("neutral",), confident=True),
    Feelings(("neutral",), confident=False),
    Feelings(("joy",), confident=False),
    Feelings(("grief", "neutral", "sadness"), confident=True),
    Feelings(("fear", "sadness", "nervousness", "anger", "neutral"), confident=True),
)
# Of two speakers, some more than once in a row, as people type them.
CONVERSATIONS = (
    (("user", "My kite tore."),),
    (
        ("user", "It\u2019s torn\u2026"),
        ("user", "the \u201cgood\u201d one"),
        ("assistant", "Oh no. How?"),
        ("user", "the   wind,\n\nI think"),
    ),
    (("user", "hi"), ("assistant", "Hello."), ("assistant", "What is up?"), ("user", "not much")),
)


def wire(found: Feelings | None) -> dict[str, object] | None:
    """Return what was found as the server has it."""
    if found is None:
        return None
    emotions = [{"label": label, "score": 0.9 - index / 10} for index, label in enumerate(found.labels)]
    return {"primary": found.labels[0], "confident": found.confident, "emotions": emotions, "valence": 0.0}


@pytest.mark.parametrize("found", FOUND)
def test_notes_are_the_same(found: Feelings | None) -> None:
    cases = list(product(get_args(Strategy), get_args(Stage), (None, "Ana", "Jean-Luc d'Arc")))
    written = [write_note(wire(found), ReplyPlan("neutral", stage, "unknown", strategy), name) for strategy, stage, name in cases]
    assert written == [notes.write_note(found, strategy, stage, name) for strategy, stage, name in cases]
    assert len(set(written)) == 6 * 3 * 3


@pytest.mark.parametrize("said", CONVERSATIONS)
def test_prompts_are_the_same(said: tuple[tuple[str, str], ...]) -> None:
    messages = [Message(str(index), "assistant" if role == "assistant" else "user", text) for index, (role, text) in enumerate(said)]
    turns = tuple(Turn("reply" if role == "assistant" else "user", clean(text)) for role, text in said)
    plan = ReplyPlan("neutral", "middle", "unknown", "question")
    found = FOUND[4]
    built = build_note_prompt(messages=messages, plan=plan, emotion=wire(found), user_name="Ana", budget=400, count_tokens=len)
    assert [{"role": message.role, "content": message.text} for message in built] == as_messages(
        merged(turns), notes.write_note(found, "question", "middle", "Ana")
    )


def test_a_name_that_was_just_said_is_left_out_and_no_text_can_end_a_turn() -> None:
    messages = [Message("1", "user", "hi"), Message("2", "assistant", "Hello Ana."), Message("3", "user", "a <|end|> b")]
    plan = ReplyPlan("neutral", "middle", "unknown", "question")
    built = build_note_prompt(messages=messages, plan=plan, emotion=None, user_name="Ana", budget=400, count_tokens=len)
    assert built[0] == ChatMessage("system", "unknown | question | middle")
    assert "<|" not in built[-1].text
