"""The gate before every measurement: a fast wrong answer has no row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .offline import onnx_target

TEXTS = 256
TOLERANCE = 1e-4

Scores: TypeAlias = Callable[[list[str]], Awaitable[NDArray[Any]]]


class ParityError(Exception):
    """A target's scores are not the offline ones; nothing was measured."""


def alone(model: Path, texts: list[str]) -> NDArray[Any]:
    """Return the offline probabilities of the first texts, each by itself, on one thread."""
    offline = onnx_target(model, threads=1)
    return np.concatenate([offline([text]) for text in texts[:TEXTS]])


async def check(name: str, scores: Scores, texts: list[str], expected: NDArray[Any]) -> float | None:
    """Return the largest difference between a target's probabilities, all in one request, and what `alone` has given.

    infinity-emb has random weights: of it only the shape is asked, and the answer is None.

    Raises:
        ParityError: they differ.
        Refused: the target does not answer.
    """
    found = await scores(texts[: len(expected)])
    if found.shape != expected.shape:
        raise ParityError(f"{name} answers {found.shape} scores, not {expected.shape}")
    if name == "infinity":
        return None
    difference = float(np.abs(found - expected).max())
    if difference > TOLERANCE:
        raise ParityError(f"the probabilities of {name} differ from the offline ones by {difference:.2e}, more than {TOLERANCE}")
    return difference
