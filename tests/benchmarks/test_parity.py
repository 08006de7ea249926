"""The gate: a target that answers something else than the committed model is not measured."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empathetic_bench import parity
from empathetic_bench.offline import onnx_target
from numpy.typing import NDArray

TEXTS = ["I love it!", "why?", "What a long day."]


@pytest.fixture
def expected(root: Path) -> NDArray[Any]:
    return parity.alone(root / "model_repository" / "emotion_classifier", TEXTS)


def difference(name: str, scores: NDArray[Any], expected: NDArray[Any]) -> float | None:
    async def answer(_: list[str]) -> NDArray[Any]:
        return scores

    return asyncio.run(parity.check(name, answer, TEXTS, expected))


def test_what_is_expected_is_the_committed_models_answer(root: Path, expected: NDArray[Any]) -> None:
    together = onnx_target(root / "model_repository" / "emotion_classifier", 1)(TEXTS)
    assert np.abs(together - expected).max() <= parity.TOLERANCE
    assert expected.shape == (3, 28)


def test_the_largest_difference_is_returned(expected: NDArray[Any]) -> None:
    scores = expected.copy()
    scores[1, 5] += 5e-5
    assert difference("server", scores, expected) == pytest.approx(5e-5, rel=0.1)


def test_one_wrong_score_closes_the_gate(expected: NDArray[Any]) -> None:
    scores = expected.copy()
    scores[2, 0] += 2e-4
    with pytest.raises(parity.ParityError, match="triton differ"):
        difference("triton", scores, expected)


def test_infinity_has_random_weights_and_must_have_the_shape(expected: NDArray[Any]) -> None:
    assert difference("infinity", np.zeros((3, 28)), expected) is None
    with pytest.raises(parity.ParityError, match=r"\(3, 27\)"):
        difference("infinity", np.zeros((3, 27)), expected)
