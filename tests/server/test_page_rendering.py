"""The page's parts without a browser: what is shown of a conversation, and what its memory may have been changed into."""

from __future__ import annotations

import json
import re

import pytest
from empathetic_server.page.conversation import Memory
from empathetic_server.page.rendering import banner, escape, mood, transcript
from hypothesis import given
from hypothesis import strategies as st

CONTACT = {"name": "Samaritans", "contact": "call 116 123", "url": "https://www.samaritans.org"}


@given(st.text())
def test_a_text_can_neither_be_markup_nor_a_template(text: str) -> None:
    assert not re.search(r"[<>{}$`\"']", escape(text))


def test_only_the_last_reply_can_be_written_anew_and_nothing_while_one_is_written() -> None:
    messages = [
        {"message_id": "1", "role": "user", "text": "a"},
        {"message_id": "2", "role": "assistant", "text": "b"},
        {"message_id": "3", "role": "user", "text": "c"},
        {"message_id": "4", "role": "assistant", "text": "d"},
    ]
    shown = transcript("hello", messages, {"2": "up"}, busy=False)
    assert re.findall('data-action="retry" data-id="(.)"', shown) == ["4"]
    assert re.findall('data-action="edit" data-id="(.)"', shown) == ["1", "3"]
    assert re.findall('data-action="like" data-id="(.)"[^>]*aria-pressed="true"', shown) == ["2"]
    assert not re.findall('data-action="(?:retry|edit)"', transcript("hello", messages, {}, busy=True))


def test_contacts_link_to_their_own_pages_alone() -> None:
    shown = banner([CONTACT, {**CONTACT, "url": "javascript:alert(1)"}, {**CONTACT, "url": "http://evil.example"}])
    assert re.findall('href="([^"]*)"', shown) == ["https://www.samaritans.org"]
    assert shown.count("116 123") == 3
    assert banner([]) == ""


def test_the_mood_is_drawn_from_what_the_classifier_said() -> None:
    turns = [{"message_id": "1", "primary": "joy", "valence": 1.0}, {"message_id": "2", "primary": None, "valence": None}]
    shown = mood({"turns": turns, "state": "positive"})
    assert shown.count("<circle") == 1
    assert "<td>joy</td><td>+1.00</td>" in shown
    assert "<svg" not in mood({"turns": turns[1:], "state": "unknown"})
    assert mood({"turns": turns[:1] * 100, "state": "neutral"}).count("<circle") == 40


def test_the_browsers_memory_is_read_as_it_was_written() -> None:
    memory = Memory("a session", [dict(CONTACT)], "a key")
    assert Memory.read(memory.to_json()) == memory


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "1", '{"session_id": 1}', json.dumps({"session_id": "x", "resources": [1], "api_key": None})]
)
def test_what_nobody_wrote_is_forgotten(text: str) -> None:
    assert Memory.read(text) == Memory()
