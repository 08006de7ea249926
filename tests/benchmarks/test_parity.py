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


class Answering:
    """A target that gives the same scores to everybody."""

    def __init__(self, scores: NDArray[Any]) -> None:
        self._scores = scores

    async def send(self, texts: list[str], priority: str | None = None) -> None:
        raise NotImplementedError

    async def scores(self, texts: list[str]) -> NDArray[Any]:
        return self._scores


@pytest.fixture
def model(root: Path) -> Path:
    return root / "model_repository" / "emotion_classifier"


def difference(name: str, scores: NDArray[Any], model: Path) -> float | None:
    return asyncio.run(parity.check(name, Answering(scores), model, TEXTS, threads=1))


def test_the_largest_difference_is_returned(model: Path) -> None:
    scores = onnx_target(model, 1)(TEXTS)
    scores[1, 5] += 5e-5
    assert difference("server", scores, model) == pytest.approx(5e-5, rel=0.1)


def test_one_wrong_score_closes_the_gate(model: Path) -> None:
    scores = onnx_target(model, 1)(TEXTS)
    scores[2, 0] += 2e-4
    with pytest.raises(parity.ParityError, match="triton differ"):
        difference("triton", scores, model)


def test_infinity_has_random_weights_and_must_have_the_shape(model: Path) -> None:
    assert difference("infinity", np.zeros((3, 28)), model) is None
    with pytest.raises(parity.ParityError, match=r"\(3, 27\)"):
        difference("infinity", np.zeros((3, 27)), model)
