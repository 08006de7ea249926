"""Cleaning, the one place where text from outside is changed."""

from __future__ import annotations

from empathetic_server.texts import clean, clean_json
from hypothesis import given
from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters())  # lone surrogates and control characters included


def test_control_characters_nul_and_lone_surrogates_go_and_the_rest_stays() -> None:
    assert clean("\x00I \x1b[31mmiss\x07 you\ud83d 💔 \u200dé\tok\x85") == "I [31mmiss you 💔 \u200dé\tok"


def test_every_line_end_becomes_a_line_feed() -> None:
    assert clean("a\r\nb\rc\u2028d\n\ne") == "a\nb\nc\nd\n\ne"


@given(ANY_TEXT)
def test_cleaned_text_is_encodable_and_cleaning_again_changes_nothing(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned == clean(cleaned)
    assert "\x00" not in cleaned


def test_strings_are_cleaned_wherever_they_are_in_a_json_value() -> None:
    assert clean_json({"a\x00": [" x\ud800 ", 1, None, {"b": "\x01"}]}) == {"a": ["x", 1, None, {"b": ""}]}
