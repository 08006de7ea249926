"""Decision thresholds, fitted on the dev split alone, and their file. Pure NumPy; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoint import read_json
from .errors import CheckpointError

# A threshold outside this range is a fluke of a few dev texts: nothing is decided at 1 % or at 99 %.
LOWEST, HIGHEST = 0.05, 0.95
# Strength of the pull of each label's F1 curve to the pooled one, in pseudo-positives; chosen on dev by cross-fitting (docs/log.md).
PRIOR_POSITIVES = 10.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Per-label thresholds (labels,) and the best single one for all labels."""

    per_label: NDArray[np.float64]
    single: float


def thresholds_json(thresholds: Thresholds, labels: Sequence[str], fixed: float) -> dict[str, Any]:
    """Return the content of `thresholds.json`."""
    by_label = dict(zip(labels, thresholds.per_label.tolist(), strict=True))
    return {"per_label": by_label, "single": thresholds.single, "fixed": fixed}


def read_thresholds(path: Path, labels: Sequence[str]) -> Thresholds:
    """Read the fitted thresholds of `labels` from `thresholds.json`.

    Raises:
        CheckpointError: the file is missing or malformed, or lacks a label.
    """
    content = read_json(path)
    try:
        return Thresholds(np.array([float(content["per_label"][label]) for label in labels]), float(content["single"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise CheckpointError(f"{path}: no threshold {exc}") from exc


def fit(probabilities: NDArray[np.floating], targets: NDArray[np.integer], prior: float = PRIOR_POSITIVES) -> Thresholds:
    """Choose the thresholds that maximise F1.

    The single threshold maximises micro F1. Each label's threshold maximises its own F1 after its counts of true
    positives, false positives and misses are mixed with `prior` positives' worth of all labels' pooled counts at the same
    threshold: a label with hundreds of examples decides for itself, one with ten leans on the others.

    Args:
        probabilities: (texts, labels), 0 to 1.
        targets: (texts, labels), 0 or 1.
        prior: weight of the pooled counts in positives; 0 fits each label alone.
    """
    grid = np.round(np.arange(LOWEST, HIGHEST + 1e-9, 0.01), 2)
    hit, false = np.empty((len(grid), targets.shape[1])), np.empty((len(grid), targets.shape[1]))
    truth = targets.astype(bool)
    for row, threshold in enumerate(grid):
        chosen = probabilities >= threshold
        hit[row], false[row] = (chosen & truth).sum(axis=0), (chosen & ~truth).sum(axis=0)
    miss = truth.sum(axis=0) - hit
    share = prior / max(1, truth.sum())
    pooled_hit, pooled_false, pooled_miss = (count.sum(axis=1, keepdims=True) for count in (hit, false, miss))
    per_label = _f1(hit + share * pooled_hit, false + share * pooled_false, miss + share * pooled_miss)
    single = _f1(pooled_hit, pooled_false, pooled_miss)[:, 0]
    return Thresholds(per_label=grid[_middle_of_best(per_label)], single=float(grid[int(np.argmax(single))]))


def decide_held_out(probabilities: NDArray[np.floating], targets: NDArray[np.integer], folds: int = 5) -> NDArray[np.bool_]:
    """Decide each text with thresholds fitted on the other folds (text k is in fold k mod `folds`), (texts, labels).

    A score of these decisions does not reward thresholds for fitting the very texts they are scored on.
    """
    fold = np.arange(len(targets)) % folds
    decisions = np.empty(targets.shape, dtype=bool)
    for chosen in range(min(folds, len(targets))):
        rest = fold != chosen
        decisions[~rest] = probabilities[~rest] >= fit(probabilities[rest], targets[rest]).per_label
    return decisions


def _f1(hit: NDArray[np.float64], false: NDArray[np.float64], miss: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2 * hit / np.maximum(2 * hit + false + miss, 1e-12)


def _middle_of_best(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Row of the best score in each column; in the middle of the first plateau, which generalises better than its edge."""
    best = score.max(axis=0)
    rows = np.empty(score.shape[1], dtype=np.intp)
    for column in range(score.shape[1]):
        first = end = int(np.argmax(score[:, column]))
        while end + 1 < len(score) and score[end + 1, column] >= best[column] - 1e-12:
            end += 1
        rows[column] = (first + end) // 2
    return rows
