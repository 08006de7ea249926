"""Draws the four plots of a run as PNG files. Knows no model: a report of the test split and the Trainer's log come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no window system, no global state


def write(directory: Path, report: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Write `per_label_f1.png`, `calibration.png`, `confusion.png` and `learning_curve.png`."""
    drawn = {
        "per_label_f1": _per_label_f1(report["per_label"]),
        "calibration": _calibration(report["calibration"]),
        "confusion": _confusion(report["confusion"]["matrix"], [row["label"] for row in report["per_label"]], report["per_label"]),
        "learning_curve": _learning_curve(history),
    }
    for name, figure in drawn.items():
        figure.savefig(directory / f"{name}.png", dpi=110)


def _per_label_f1(per_label: Sequence[Mapping[str, Any]]) -> Figure:
    rows = sorted(per_label, key=lambda row: row["f1"])
    figure = Figure(figsize=(8, 0.28 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([row["label"] for row in rows], [row["f1"] for row in rows], color="#4477aa", label="thresholds per label")
    axes.plot([row["f1_fixed"] for row in rows], range(len(rows)), "o", color="#ee6677", label="fixed threshold")
    for position, row in enumerate(rows):
        axes.annotate(f"{row['support']} texts", (1.0, position), va="center", ha="right", fontsize=7)
    axes.set(title="F1 of each label, test split", xlabel="F1", xlim=(0, 1))
    axes.margins(y=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(0.9, 0.0))
    return figure


def _calibration(calibration: Mapping[str, Any]) -> Figure:
    bins = calibration["bins"]
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    axes.plot([0, 1], [0, 1], "--", color="grey", label="perfect")
    axes.plot([row["probability"] for row in bins], [row["observed"] for row in bins], "o-", color="#4477aa", label="model")
    error = calibration["expected_calibration_error"]
    axes.set(title=f"Calibration, test split: expected error {error:.4f}", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    below.bar([row["low"] for row in bins], [row["pairs"] for row in bins], width=[row["high"] - row["low"] for row in bins], align="edge")
    below.set(xlabel="stated probability", ylabel="pairs", yscale="log")
    return figure


def _confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], per_label: Sequence[Mapping[str, Any]]) -> Figure:
    """Share of each label's texts in which another took its place."""
    support = np.array([max(1, row["support"]) for row in per_label])
    share = np.asarray(matrix) / support[:, None]
    figure = Figure(figsize=(0.3 * len(labels) + 3, 0.3 * len(labels) + 2), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="viridis", vmin=0)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(title="Label given (row), another decided instead (column)", xlabel="decided, wrongly", ylabel="given, missed")
    figure.colorbar(image, label="share of the row's texts", shrink=0.7)
    return figure


def _learning_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, keys in ((left, ("loss", "eval_loss")), (right, ("eval_micro_f1", "eval_macro_f1"))):
        for key in keys:
            points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
            axes.plot(*zip(*points, strict=True) if points else ([], []), "o-", markersize=3, label=key.replace("eval_", "validation "))
        axes.set(xlabel="epoch")
        axes.legend()
    left.set(title="loss")
    right.set(title="F1, thresholds held out")
    return figure
