"""Multi-label metrics. Pure NumPy; knows no model and no thresholds but those it is given.

Throughout, `decisions` and `targets` are (texts, labels), true or 1 where a label is decided or given. A ratio of
nothing to nothing (a label neither given nor decided) counts as 0, so that a label nobody finds cannot raise a mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Decisions = NDArray[np.bool_]
Targets = NDArray[Any]


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probability of each label, computed without overflow."""
    half = 0.5 * logits.astype(np.float64)
    return (0.5 * (1.0 + np.tanh(half))).astype(np.float32)


def f1_scores(decisions: Decisions, targets: Targets) -> tuple[float, float]:
    """Return (micro F1, macro F1)."""
    truth = targets.astype(bool)
    micro, macro = _f1((decisions & truth).sum(axis=0), decisions.sum(axis=0) + truth.sum(axis=0))
    return float(micro), float(macro)


def per_label(decisions: Decisions, targets: Targets) -> dict[str, NDArray[np.float64]]:
    """Return `support`, `precision`, `recall` and `f1`, each (labels,)."""
    truth = targets.astype(bool)
    hit, decided, given = (decisions & truth).sum(axis=0), decisions.sum(axis=0), truth.sum(axis=0)
    return {
        "support": given.astype(np.float64),
        "precision": _ratio(hit, decided),
        "recall": _ratio(hit, given),
        "f1": _ratio(2 * hit, decided + given),
    }


def scores(decisions: Decisions, targets: Targets) -> dict[str, float]:
    """Return exact match and micro and macro precision, recall and F1; macro F1 is the mean of the labels' F1."""
    truth = targets.astype(bool)
    hit, decided, given = (decisions & truth).sum(), decisions.sum(), truth.sum()
    table = per_label(decisions, targets)
    return {
        "exact_match": float((decisions == truth).all(axis=1).mean()),
        "micro_precision": float(_ratio(hit, decided)),
        "micro_recall": float(_ratio(hit, given)),
        "micro_f1": float(_ratio(2 * hit, decided + given)),
        "macro_precision": float(table["precision"].mean()),
        "macro_recall": float(table["recall"].mean()),
        "macro_f1": float(table["f1"].mean()),
    }


def bootstrap_f1(
    decisions: Decisions, targets: Targets, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of `micro_f1` and `macro_f1` over texts drawn with replacement.

    A rare label may be missing from a draw altogether; it is then left out of that draw's macro F1, not counted as 0.
    """
    truth = targets.astype(bool)
    texts, labels = truth.shape
    counted = np.concatenate([decisions & truth, decisions, truth], axis=1).astype(np.float32)  # exact: sums stay below 2 ** 24
    known = (decisions | truth).any(axis=0)
    generator = np.random.default_rng(seed)
    drawn = np.empty((2, resamples))
    chunk = max(1, 4_000_000 // texts)  # bounds memory: a draw is a row of one count for each text
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        rows = generator.integers(texts, size=(size, texts)) + np.arange(size)[:, None] * texts
        weights = np.bincount(rows.ravel(), minlength=size * texts).reshape(size, texts).astype(np.float32)
        hit, decided, given = np.split((weights @ counted).astype(np.float64), [labels, 2 * labels], axis=1)
        micro, macro = _f1(hit, decided + given)
        missing = ((decided + given == 0) & known).sum(axis=1)
        drawn[:, start : start + size] = micro, macro * labels / np.maximum(labels - missing, 1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=1)
    return {"micro_f1": (float(low[0]), float(high[0])), "macro_f1": (float(low[1]), float(high[1]))}


def calibration(probabilities: NDArray[np.floating], targets: Targets, bins: int = 10) -> dict[str, Any]:
    """Compare stated with observed frequency, over every pair of a text and a label.

    Returns:
        `expected_calibration_error`, the mean over pairs of |mean probability - observed frequency| of the pair's bin of
        equal width, and `bins`, one row for each bin that holds a pair.
    """
    stated, observed = probabilities.ravel().astype(np.float64), targets.ravel().astype(np.float64)
    index = np.minimum((stated * bins).astype(np.intp), bins - 1)
    count = np.bincount(index, minlength=bins)
    mean, share = (_ratio(np.bincount(index, weights=values, minlength=bins), count) for values in (stated, observed))
    rows = [
        {
            "low": row / bins,
            "high": (row + 1) / bins,
            "pairs": int(count[row]),
            "probability": float(mean[row]),
            "observed": float(share[row]),
        }
        for row in np.flatnonzero(count)
    ]
    return {"expected_calibration_error": float((count * np.abs(mean - share)).sum() / count.sum()), "bins": rows}


def confusion(decisions: Decisions, targets: Targets) -> NDArray[np.intp]:
    """Count the texts in which one label took another's place.

    Returns:
        (labels, labels): in row A and column B the texts that have A and not B, and were given B and not A. A text may
        count in several cells; the diagonal is 0.
    """
    truth = targets.astype(bool)
    missed, invented = (truth & ~decisions).astype(np.intp), (decisions & ~truth).astype(np.intp)
    counts: NDArray[np.intp] = missed.T @ invented
    return counts


def _ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio


def _f1(hit: Any, size: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Micro and macro F1 over the last axis, from hits and from decided plus given."""
    return _ratio(2 * hit.sum(axis=-1), size.sum(axis=-1)), _ratio(2 * hit, size).mean(axis=-1)
