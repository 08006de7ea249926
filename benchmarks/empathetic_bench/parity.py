"""The gate before every measurement: a fast wrong answer has no row."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .offline import onnx_target
from .targets import Target

TEXTS = 256
TOLERANCE = 1e-4


class ParityError(Exception):
    """A target's scores are not the offline ones; nothing was measured."""


async def check(name: str, target: Target, model: Path, texts: list[str], threads: int) -> float | None:
    """Return the largest difference between a target's probabilities, all in one request, and each text alone offline.

    infinity-emb has random weights: of it only the shape is asked, and the answer is None.

    Raises:
        ParityError: they differ.
        Refused: the target does not answer.
    """
    offline = onnx_target(model, threads)
    asked = texts[:TEXTS]
    alone = np.concatenate([offline([text]) for text in asked])
    found = await target.scores(asked)
    if found.shape != alone.shape:
        raise ParityError(f"{name} answers {found.shape} scores, not {alone.shape}")
    if name == "infinity":
        return None
    difference = float(np.abs(found - alone).max())
    if difference > TOLERANCE:
        raise ParityError(f"the probabilities of {name} differ from the offline ones by {difference:.2e}, more than {TOLERANCE}")
    return difference
