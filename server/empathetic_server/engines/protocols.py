"""What the server needs from an engine, and no more. Knows no technology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Priority = Literal["interactive", "bulk"]


@dataclass(frozen=True, slots=True)
class Classification:
    """The scores of one request's texts.

    Attributes:
        probabilities: (texts, labels), independent, 0 to 1, float32.
        tokens: tokens of each text that were classified, special ones included.
        truncated: whether each text was longer than the model's window.
        tokenize_ms: time to turn the texts into tokens.
        queue_ms: time that the texts waited, in all.
        compute_ms: time of the batches that they were in.
    """

    probabilities: NDArray[np.float32]
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    tokenize_ms: float
    queue_ms: float
    compute_ms: float


class EmotionClassifier(Protocol):
    """Detects emotions in texts."""

    @property
    def name(self) -> str:
        """The engine's name, as in the settings."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the scores."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Lowest probability at which each label counts, fitted at training."""

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        """Score texts; the answer for a text does not depend on the others.

        Cancelling the call drops what has not been computed yet.

        Raises:
            Overloaded: the queue is full; nothing was accepted.
            DeadlineExceeded: `timeout_s` passed.
            BackendUnavailable: the engine is closed or down.
            InternalError: the model failed on one of the texts.
        """

    def ready(self) -> bool:
        """Whether the engine can answer now."""

    async def aclose(self) -> None:
        """Finish what is computing, refuse what waits, free the engine. May be called twice."""
