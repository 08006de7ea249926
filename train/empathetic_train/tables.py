"""Renders reports as plain text. Standard library only, so that old results are shown without loading torch; knows no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SPLIT_NAMES = {"train": "train", "dev": "validation", "test": "test"}
_RULE_NAMES = {"per_label": "per label", "single": "single", "fixed": "fixed"}


def rules_table(split_reports: Mapping[str, Any]) -> str:
    """Render micro and macro F1, with intervals, and exact match, for each split and threshold rule."""
    lines = [f"{'split':<10}  {'texts':>6}  {'thresholds':<10}  {'micro F1':<22}  {'macro F1':<22}  {'exact':>6}"]
    for split, name in SPLIT_NAMES.items():
        report = split_reports[split]
        for rule, rule_name in _RULE_NAMES.items():
            scores = report["rules"][rule]
            micro, macro = (_interval(scores, key) for key in ("micro_f1", "macro_f1"))
            lines.append(f"{name:<10}  {report['texts']:>6}  {rule_name:<10}  {micro:<22}  {macro:<22}  {scores['exact_match']:>6.4f}")
    return "\n".join(lines)


def summary(training: Mapping[str, Any], split_reports: Mapping[str, Any]) -> str:
    """Render `summary.txt`."""
    settings, data = training["config"], training["data"]
    fixed = settings["confidence_threshold"]
    return "\n".join(
        [
            f"model       {settings['model_name']}, {settings['pooling']} pooling, {settings['loss']} loss, seed {settings['seed']}",
            f"trained     {training['started_at']} to {training['finished_at']} on {training['device']}",
            f"data        {data['source']}; {data['also_in_train']['test']} of {data['texts']['test']} test texts also occur in train",
            "",
            rules_table(split_reports),
            "",
            f"Per-label and single thresholds were fitted on validation, whose own scores they flatter; fixed is {fixed}.",
            "Intervals: 95 %, bootstrap over texts.",
            "Expected calibration error on test: {:.4f}".format(split_reports["test"]["calibration"]["expected_calibration_error"]),
            "",
        ]
    )


def extremes(per_label: Sequence[Mapping[str, Any]], count: int = 5) -> str:
    """Render the labels with the best and the worst F1 among those that occur."""
    ranked = sorted((row for row in per_label if row["support"]), key=lambda row: -row["f1"])
    count = min(count, (len(ranked) + 1) // 2)
    lines = [f"{'label':<16}  {'F1':>6}  {'precision':>9}  {'recall':>6}  {'texts':>5}  {'threshold':>9}"]
    for title, rows in (("best", ranked[:count]), ("worst", ranked[-count:])):
        lines.append(f"-- {title}")
        for row in rows:
            scores = f"{row['f1']:>6.4f}  {row['precision']:>9.4f}  {row['recall']:>6.4f}"
            lines.append(f"{row['label']:<16}  {scores}  {row['support']:>5}  {row['threshold']:>9.2f}")
    return "\n".join(lines)


def _interval(scores: Mapping[str, Any], key: str) -> str:
    low, high = scores["intervals"][key]
    return f"{scores[key]:.4f} [{low:.4f}, {high:.4f}]"
