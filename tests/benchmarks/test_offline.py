from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from empathetic_bench.offline import Target, measure, onnx_target

TEXTS = ["I love it!", "a long and tiring day at the office, and then the train was late", "why?"] * 4


def recording(batches: list[list[str]]) -> Target:
    return Target(list, batches.append)


def test_every_text_is_scored_once_after_the_warmup() -> None:
    batches: list[list[str]] = []
    one = measure(recording(batches), TEXTS, batch_size=5, sort=False)
    assert batches == [TEXTS[:5], TEXTS[:5], TEXTS[5:10], TEXTS[10:]]
    assert (one.texts, len(one.latencies_ms)) == (12, 3)


def test_sorting_puts_texts_of_one_length_together() -> None:
    batches: list[list[str]] = []
    measure(recording(batches), TEXTS, batch_size=4, sort=True)
    assert [{len(text) for text in batch} for batch in batches[1:]] == [{4}, {10}, {64}]


def test_the_committed_model_scores_a_text_alone_as_in_a_batch(root: Path) -> None:
    target = onnx_target(root / "model_repository" / "emotion_classifier", threads=1)
    together = target(TEXTS)
    assert together.shape == (12, 28)
    assert ((together > 0) & (together < 1)).all()
    for row, text in zip(together, TEXTS, strict=True):
        assert np.abs(target([text])[0] - row).max() == pytest.approx(0, abs=1e-4)
