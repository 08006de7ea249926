"""What is made of the times of chats; how they are taken is in test_talking.py and test_measuring.py."""

from __future__ import annotations

import pytest
from empathetic_bench.chat import waited_for
from empathetic_bench.talking import Turn

ALONE = Turn(pieces=["I", "'m", " sorry", " to", " hear", "."], piece_ms=[20.0, 22.0, 25.0, 29.0, 34.0, 40.0])


@pytest.mark.parametrize(("shown", "waited_ms"), [("I'm sorry", 9.0), ("I", 2.0), ("I'm sorry to", 14.0), ("I'm sorry to hear.", 20.0)])
def test_words_are_held_until_the_engine_begins_what_follows(shown: str, waited_ms: float) -> None:
    assert waited_for(shown, ALONE) == waited_ms


def test_nothing_is_known_of_words_that_the_engine_did_not_say() -> None:
    assert waited_for("That is sad", ALONE) is None
