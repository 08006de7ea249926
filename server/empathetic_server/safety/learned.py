"""The learned score: how much the classifier's embedding of a text sounds like danger. Pure.

`empathetic-train crisis` makes the weights; docs/safety.md is their card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from .lexicon import Level


@dataclass(frozen=True, slots=True)
class CrisisHead:
    """A logistic regression on an embedding.

    Attributes:
        weights: one for each number of the embedding.
        bias: added to their sum.
        concern: probability from which the score speaks for `concern`.
        high: probability from which it speaks for `high`.
    """

    weights: tuple[float, ...]
    bias: float
    concern: float
    high: float

    def probability(self, embedding: Sequence[float]) -> float:
        """Return the calibrated probability, 0 to 1; raises ValueError when the embedding is not as long as the weights."""
        if len(embedding) != len(self.weights):
            raise ValueError(f"an embedding of {len(embedding)} numbers, not of {len(self.weights)}")
        return 0.5 * (1.0 + math.tanh(0.5 * (self.bias + sum(map(mul, self.weights, embedding)))))  # the sigmoid, without overflow

    def level(self, embedding: Sequence[float]) -> Level:
        """Return the level that the score speaks for; `assess` decides what comes of it."""
        probability = self.probability(embedding)
        return "high" if probability >= self.high else "concern" if probability >= self.concern else "none"
