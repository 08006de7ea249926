from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
from empathetic_server.engines.protocols import ChatMessage
from empathetic_server.persona import NAME
from empathetic_server.prompting import MESSAGE_TOKENS, PROMPT_VERSION, SYSTEM_PROMPT, build_prompt, name_was_used
from empathetic_server.sessions.protocols import Message
from empathetic_server.special_tokens import neutralize
from empathetic_server.strategies import Moment, ReplyPlan, Strategy
from empathetic_server.trajectory import Stage, State
from hypothesis import given
from hypothesis import strategies as st

PLAN = ReplyPlan("sadness", "middle", "declining", "reflect")
WIDE = 100_000
CANARY = "xylophone"


def words(text: str) -> int:
    return len(text.split())


def reading(**scores: float) -> dict[str, Any]:
    emotions = [{"label": label, "score": score} for label, score in scores.items()]
    return {"primary": emotions[0]["label"], "confident": True, "emotions": emotions, "valence": 0.0}


def conversation(*said: str, emotion: dict[str, Any] | None = None) -> list[Message]:
    """Messages of the user and the assistant in turn, the user's first."""
    return [Message(str(n), "assistant" if n % 2 else "user", text, emotion=None if n % 2 else emotion) for n, text in enumerate(said)]


def build(messages: list[Message], **changes: Any) -> tuple[ChatMessage, ...]:
    given_: dict[str, Any] = {"plan": PLAN, "emotion": None, "user_name": None, "budget": WIDE, "count_tokens": words}
    return build_prompt(messages=messages, **{**given_, **changes})


def system(**changes: Any) -> str:
    return build(conversation("hello"), **changes)[0].text


def total(prompt: tuple[ChatMessage, ...], count: Callable[[str], int]) -> int:
    return sum(count(message.text) + MESSAGE_TOKENS for message in prompt)


def test_the_prompt_is_the_system_then_the_conversation() -> None:
    prompt = build(conversation("hi", "Hello.", "my cat died"))
    assert [message.role for message in prompt] == ["system", "user", "assistant", "user"]
    assert [message.text for message in prompt[1:]] == ["hi", "Hello.", "my cat died"]


def test_neighbours_of_one_role_are_merged_and_blank_replies_dropped() -> None:
    messages = [Message("1", "user", "one"), Message("2", "assistant", " "), Message("3", "user", "two")]
    assert build(messages)[1:] == (ChatMessage("user", "one\n\ntwo"),)


def test_a_conversation_that_an_assistant_opens_starts_with_the_users_first_message() -> None:
    messages = [Message("1", "assistant", "Hi, who are you?"), *conversation("Ana")]
    assert [message.text for message in build(messages)[1:]] == ["Ana"]


def test_a_crisis_reply_stays_in_the_prompt() -> None:
    messages = [Message("1", "user", "bad"), Message("2", "assistant", "Call 988.", finish_reason="crisis"), Message("3", "user", "ok")]
    assert ChatMessage("assistant", "Call 988.") in build(messages)


def test_users_and_assistants_texts_are_neutralized() -> None:
    prompt = build(conversation("a<|im_end|>", "b[/INST]", "system: c"))
    assert [message.text for message in prompt[1:]] == ["a\u2039|im_end|>", "b(/INST)", "system - c"]


def test_emotions_enter_with_their_strength_and_at_most_three() -> None:
    text = system(emotion=reading(sadness=0.8, neutral=0.7, fear=0.5, grief=0.4, anger=0.3))
    assert "They feel sadness (strong), fear (clear), grief (slight)." in text


def test_an_uncertain_emotion_is_said_to_be_one() -> None:
    assert "not clear what they feel; perhaps fear." in system(emotion={**reading(fear=0.2), "confident": False})


def test_a_neutral_message_has_no_strong_feeling() -> None:
    assert "no strong feeling" in system(emotion=reading(neutral=0.9))


def test_without_a_classifier_nothing_is_said_about_feelings() -> None:
    assert "They feel" not in system(emotion=None)


@pytest.mark.parametrize("field", ["strategy", "stage", "state", "moment"])
def test_every_plan_reads_differently(field: str) -> None:
    values = get_args({"strategy": Strategy, "stage": Stage, "state": State, "moment": Moment}[field])
    plans = [{"group": "sadness", "stage": "middle", "state": "neutral", "strategy": "reflect", field: value} for value in values]
    assert len({system(plan=ReplyPlan(**plan)) for plan in plans}) == len(values)


def test_the_system_prompt_has_no_empty_lines_of_notes_and_no_placeholder() -> None:
    lines = system(plan=ReplyPlan("neutral", "initial", "unknown", "question")).splitlines()
    assert not any(line.strip() == "-" or "$" in line for line in lines)


def test_the_name_is_quoted_or_absent() -> None:
    assert 'They asked to be called "Ana".' in system(user_name="Ana")
    assert "asked to be called" not in system()


def test_a_name_said_in_the_last_replies_rests() -> None:
    messages = conversation("hi", "Nice to meet you, Ana!", "thanks")
    assert "do not say it now" in build(messages, user_name="Ana")[0].text
    assert name_was_used(messages, "ana")
    assert not name_was_used(messages, "An")
    assert not name_was_used(messages, None)
    assert not name_was_used(conversation("hi", "Hi, Ana!", "a", "b", "c", "d", "e", "f", "g"), "Ana")


def test_notes_are_kept_word_for_word() -> None:
    text = system(notes=("Take care.", "Mention 988."), budget=1)
    assert "\n- Take care.\n- Mention 988.\n" in text


def test_the_version_names_the_file_and_the_persona_is_in_it() -> None:
    assert PROMPT_VERSION == "system-v1"
    assert NAME in SYSTEM_PROMPT
    assert "an AI companion" in SYSTEM_PROMPT


def test_what_does_not_fit_is_quoted_in_one_note_newest_first() -> None:
    said = [part for n in range(20) for part in (f"User said {n} first. Then more " + "x " * 30, f"Reply {n}.")]
    budget = words(system()) + 200
    prompt = build(conversation(*said, "and now"), budget=budget)
    note, oldest = prompt[1].text.split("\n\n")
    assert prompt[2].text.startswith("Reply")
    assert prompt[-1].text == "and now"
    kept = int(oldest.split()[2])
    assert note.startswith("(Earlier I wrote: “")
    assert note.endswith(f"· “User said {kept - 1} first.”)")
    assert "Then more" not in note
    assert words(note) <= 0.15 * budget
    assert total(prompt, words) <= budget


def test_the_dropped_part_is_felt_by_labels_in_the_system_prompt() -> None:
    messages = conversation("a " * 50, "b", "c " * 50, "d", "e " * 50, "f", "g", emotion=reading(sadness=0.9))
    messages[4] = Message("4", "user", "e " * 50, emotion=reading(relief=0.9))
    tight = words(build(messages)[0].text) + 2 * MESSAGE_TOKENS + 20
    assert "Earlier they mostly felt sadness, then relief." in build(messages, budget=tight)[0].text
    assert "Earlier" not in build(messages)[0].text


def test_a_last_message_over_the_budget_keeps_its_beginning_and_its_end() -> None:
    text = "begin " + "middle " * 500 + "end"
    prompt = build(conversation(text), budget=words(system()) + 2 * MESSAGE_TOKENS + 50)
    assert prompt[-1].text.startswith("begin ")
    assert " … " in prompt[-1].text
    assert prompt[-1].text.endswith(" end")
    assert 45 <= words(prompt[-1].text) <= 50


COUNTERS: dict[str, Callable[[str], int]] = {
    "words": words,
    "a quarter of the characters": lambda text: len(text) // 4 + 1,
    "characters": len,
}
PIECES = [CANARY, "<|im_start|>", "<s>", "[INST]", "\nsystem:", "\n\n", " ", ". ", "long " * 40, "…", "ok"]
messages_lists = st.lists(
    st.builds(
        Message,
        message_id=st.just("m"),
        role=st.sampled_from(["user", "assistant"]),
        text=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
        emotion=st.sampled_from([None, reading(sadness=0.9), reading(neutral=0.9), reading(joy=0.6, love=0.5)]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("count", COUNTERS.values(), ids=COUNTERS)
@given(earlier=messages_lists, last=st.lists(st.sampled_from(PIECES), min_size=1).map("".join), room=st.integers(0, 600))
def test_every_prompt_fits_alternates_and_keeps_the_users_text_out_of_the_system(
    count: Callable[[str], int], earlier: list[Message], last: str, room: int
) -> None:
    messages = [*earlier, Message("last", "user", last)]
    least = count(system(notes=("Take care.",))) + count("Earlier they mostly felt sadness, then joy. ") + 3 * MESSAGE_TOKENS
    prompt = build(messages, budget=least + room, count_tokens=count, notes=("Take care.",), user_name="Ana")
    budget = max(least + room, count(prompt[0].text) + count("…") + 2 * MESSAGE_TOKENS)
    assert total(prompt, count) <= budget
    assert prompt[0].role == "system"
    assert prompt[1].role == prompt[-1].role == "user"
    assert all(one.role != other.role for one, other in pairwise(prompt))
    assert CANARY not in prompt[0].text
    assert "- Take care.\n" in prompt[0].text
    assert all(neutralize(message.text) == message.text for message in prompt[1:])
