"""Turns probabilities into the report of a split: every threshold rule, every label. Pure NumPy; knows no files and no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metrics
from .thresholds import Thresholds

# How a probability becomes a decision: thresholds fitted for each label, one fitted for all, or one fixed beforehand.
RULES = ("per_label", "single", "fixed")
PAIRS = 15  # most frequent confusions that a report lists; all of them are in its matrix


def report(
    probabilities: NDArray[np.floating],
    targets: NDArray[Any],
    *,
    thresholds: Thresholds,
    fixed: float,
    labels: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Score one split under each rule, ready for JSON.

    Args:
        probabilities: (texts, labels).
        targets: (texts, labels), 0 or 1.
        thresholds: fitted on the dev split.
        fixed: the threshold of the rule "fixed".
        labels: names of the columns.
        seed: of the bootstrap.

    Returns:
        `rules` (scores and intervals of each rule); `per_label`, `calibration` and `confusion`, which use the per-label
        thresholds where they need decisions; `texts`.
    """
    limits: dict[str, NDArray[np.float64] | float] = {"per_label": thresholds.per_label, "single": thresholds.single, "fixed": fixed}
    decisions = {rule: probabilities >= limit for rule, limit in limits.items()}
    tables = {rule: metrics.per_label(decided, targets) for rule, decided in decisions.items()}
    matrix = metrics.confusion(decisions["per_label"], targets)
    return {
        "texts": len(targets),
        "rules": {
            rule: metrics.scores(decided, targets) | {"intervals": metrics.bootstrap_f1(decided, targets, seed=seed)}
            for rule, decided in decisions.items()
        },
        "per_label": [
            {
                "label": label,
                "support": int(tables["per_label"]["support"][column]),
                "threshold": float(thresholds.per_label[column]),
                "precision": float(tables["per_label"]["precision"][column]),
                "recall": float(tables["per_label"]["recall"][column]),
                "f1": float(tables["per_label"]["f1"][column]),
                "f1_single": float(tables["single"]["f1"][column]),
                "f1_fixed": float(tables["fixed"]["f1"][column]),
            }
            for column, label in enumerate(labels)
        ],
        "calibration": metrics.calibration(probabilities, targets),
        "confusion": {"matrix": matrix.tolist(), "pairs": _frequent_pairs(matrix, labels)},
    }


def _frequent_pairs(matrix: NDArray[np.intp], labels: Sequence[str]) -> list[dict[str, Any]]:
    order = np.argsort(-matrix, axis=None, kind="stable")[:PAIRS]
    pairs = [(int(cell) // len(labels), int(cell) % len(labels)) for cell in order]
    return [
        {"given": labels[row], "decided": labels[column], "texts": int(matrix[row, column])} for row, column in pairs if matrix[row, column]
    ]
