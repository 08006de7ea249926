"""Raw measurements and their summaries. Pure; knows no target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_PERCENTILES = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p999_ms": 99.9}


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one case.

    Attributes:
        texts: texts that were answered.
        seconds: wall time of the round, warm-up left out.
        latencies_ms: one per call (a batch offline, a request over HTTP).
        errors: calls without an answer.
        abandoned: calls that the client gave up.
    """

    texts: int
    seconds: float
    latencies_ms: list[float]
    errors: int = 0
    abandoned: int = 0

    @property
    def texts_per_s(self) -> float:
        """Throughput."""
        return self.texts / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Return the raw numbers; a microsecond is below the clock's noise."""
        return {**asdict(self), "seconds": round(self.seconds, 6), "latencies_ms": [round(value, 3) for value in self.latencies_ms]}


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that `share` percent of the values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no samples")
    return float(np.percentile(values, share, method="inverted_cdf"))


def summarize(rounds: list[Round]) -> dict[str, float | None]:
    """Summarise a case: median throughput of its rounds, percentiles over all their calls; None where nothing was answered."""
    latencies = [value for one in rounds for value in one.latencies_ms]
    rates = [one.texts_per_s for one in rounds]
    return {
        "texts_per_s": float(np.median(rates)),
        "texts_per_s_min": min(rates),
        "texts_per_s_max": max(rates),
        **{name: percentile(latencies, share) if latencies else None for name, share in _PERCENTILES.items()},
        "calls": len(latencies),
        "errors": sum(one.errors for one in rounds),
        "abandoned": sum(one.abandoned for one in rounds),
    }


def ratios(rounds: list[Round], reference: list[Round]) -> list[float]:
    """Throughput of a case over a reference's, round by round: both saw the same state of the machine.

    A round in which the reference answered nothing has no ratio.
    """
    return [one.texts_per_s / other.texts_per_s for one, other in zip(rounds, reference, strict=True) if other.texts]
