from __future__ import annotations

import pytest
from empathetic_train.responder.chat import SPECIAL_TOKENS
from empathetic_train.responder.wording import clean, well_written, words
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello , what ' s new ?", "hello, what's new?"),
        ("I don ' t know ,  really . ", "I don't know, really."),
        ("well_comma_ maybe", "well, maybe"),
        ("so what?!?!  ok . . . fine", "so what? ok... fine"),
        ("It\u2019s \u201codd\u201d\u2026", 'It\'s "odd"...'),
        ("one.Two", "one. Two"),
        ("at 3.5 or 10:30, e.g. now", "at 3.5 or 10:30, e.g. now"),
        ("<|reply|> hi\n\nyou", "(reply|> hi you"),
        (" \t ", ""),
    ],
)
def test_texts_are_cleaned(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i think i'm late. why?", "I think I'm late. Why?"),
        ("oh no", "Oh no."),
        ("Wait...", "Wait..."),
        ("", ""),
    ],
)
def test_replies_are_well_written(text: str, expected: str) -> None:
    assert well_written(text) == expected


@given(st.text())
def test_no_special_token_survives_and_cleaning_twice_changes_no_token(text: str) -> None:
    cleaned = clean(f"{text}{SPECIAL_TOKENS[1]}{text}")
    assert not any(token in cleaned for token in SPECIAL_TOKENS)
    assert "\n" not in cleaned


def test_words_are_counted_as_published() -> None:
    assert words("I don't know, Ana... 5 ducks!") == ["i", "don", "'t", "know", ",", "ana", ".", ".", ".", "5", "ducks", "!"]
