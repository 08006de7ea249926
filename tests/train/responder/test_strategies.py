from __future__ import annotations

import random

import pytest
from empathetic_train.responder.names import draw_name, with_name
from empathetic_train.responder.notes import Feelings, stage_of, write_note
from empathetic_train.responder.strategies import STRATEGIES, strategy_of


@pytest.mark.parametrize(
    ("text", "named", "expected"),
    [
        ("Anything.", ("Question",), "question"),
        ("Anything.", ("Affirmation and Reassurance", "Providing Suggestions"), "suggest"),
        ("Anything.", ("Greeting",), "chat"),
        ("You should ask the goat.", ("Question", "Providing Suggestions or Information"), "suggest"),
        ("Goats eat kites.", ("Providing Suggestions or Information",), "inform"),
        ("What did the goat do?", (), "question"),
        ("I had a goat like that once.", (), "share"),
        ("Mine did the same, what a day!", (), "share"),
        ("I'm so sorry about the kettle.", (), "reflect"),
        ("That must have been odd.", (), "reflect"),
        ("You should ask the goat.", (), "suggest"),
        ("Well done, that is a great kite!", (), "affirm"),
        ("I hope the ferry comes.", (), "affirm"),
        ("The ferry is blue.", (), "chat"),
    ],
)
def test_what_a_reply_does_is_found(text: str, named: tuple[str, ...], expected: str) -> None:
    assert strategy_of(text, named) == expected
    assert expected in STRATEGIES


@pytest.mark.parametrize(
    ("feelings", "expected"),
    [
        (Feelings(("sadness", "grief", "fear", "anger"), confident=True), "sadness, grief, fear | reflect | initial"),
        (Feelings(("joy", "neutral"), confident=True), "joy | reflect | initial"),
        (Feelings(("neutral",), confident=True), "neutral | reflect | initial"),
        (Feelings(("joy",), confident=False), "joy? | reflect | initial"),
        (Feelings(("neutral",), confident=False), "neutral | reflect | initial"),
        (None, "unknown | reflect | initial"),
    ],
)
def test_a_note_says_what_is_known(feelings: Feelings | None, expected: str) -> None:
    assert write_note(feelings, "reflect", "initial") == expected
    assert write_note(feelings, "reflect", "initial", "Ana") == f"{expected} | Ana"


def test_stages_follow_the_number_of_messages() -> None:
    assert [stage_of(count) for count in (1, 2, 3, 4)] == ["initial", "middle", "middle", "advanced"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Oh no! What happened?", "Oh no, Ana! What happened?"),
        ("I'm sorry to hear that.", "I'm sorry to hear that, Ana."),
        ("Oh! Really?", None),
        ("Well, that is odd.", None),
        ("A sentence that goes on and on for far too many words to be called by name.", None),
        ("No mark at all", None),
    ],
)
def test_a_name_comes_where_it_sounds_right(reply: str, expected: str | None) -> None:
    assert with_name(reply, "Ana") == expected


def test_names_are_many_and_can_be_names() -> None:
    draw = random.Random(0)  # noqa: S311  # test data
    names = [draw_name(draw) for _ in range(500)]
    assert len(set(names)) > 250
    assert all(name[0].isupper() and name.replace("-", "").isalpha() for name in names)
