"""The openings that the benchmark asks about, beside what training held out."""

from __future__ import annotations

from pathlib import Path

from empathetic_bench.responder.openings import read_openings
from empathetic_train.responder import sources

from tests.tiny_dialogues import write_dialogues


def test_the_benchmark_asks_only_what_training_held_out(tmp_path: Path) -> None:
    data = write_dialogues(tmp_path / "data", conversations=200)
    for percent in (3, 20, 50):
        reading = {"held_out_percent": percent, "book_characters": 0, "task_dialogues": 0, "with_test": True, "seed": 1}
        found = sources.read(data, **reading)  # type: ignore[arg-type]
        held_out, test = ({conversation.turns[0].text for conversation in rows} for rows in (found.held_out, found.test))
        trained = {turn.text for conversation in found.conversations for turn in conversation.turns}
        openings = read_openings(data, held_out_percent=percent, is_test=False).texts
        assert set(openings) == held_out
        assert not set(openings) & trained
        assert set(read_openings(data, held_out_percent=percent, is_test=True).texts) == test
