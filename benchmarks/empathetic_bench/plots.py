"""Draws the committed results as SVG: the same results give the same file. Knows no measuring."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .samples import percentile

# Text as text keeps the files small; a fixed salt keeps their ids the same.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "empathetic", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
_SHARES = [*range(1, 100), 99.5, 99.9]


def latency_against_throughput(content: dict[str, Any], path: Path) -> None:
    """Draw p50 and p99 of each target over what it answered."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, (target, cases) in enumerate(_by_target(content).items()):
        rates = [case["summary"]["texts_per_s"] for case in cases]
        for name, style in (("p50_ms", "-o"), ("p99_ms", "--o")):
            axes.plot(
                rates, [case["summary"][name] for case in cases], style, color=f"C{number}", markersize=3, label=f"{target}, {name[:3]}"
            )
    axes.set(xlabel="answered texts/s", ylabel="latency, ms", yscale="log")
    axes.legend()
    _save(figure, path)


def latency_distribution(content: dict[str, Any], path: Path) -> None:
    """Draw the share of answers within a latency, for each target at the highest level that all have been measured at."""
    by_target = _by_target(content)
    level = max(set.intersection(*({case["level"] for case in cases} for cases in by_target.values())))
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for target, cases in by_target.items():
        case = next(case for case in cases if case["level"] == level)
        latencies = [value for one in case["rounds"] for value in one["latencies_ms"]]
        axes.plot([percentile(latencies, share) for share in _SHARES], [share / 100 for share in _SHARES], label=target)
    axes.set(xlabel=f"latency at {level} {content['level']}, ms", ylabel="share of the answers", xscale="log")
    axes.legend()
    _save(figure, path)


def scaling(content: dict[str, Any], path: Path) -> None:
    """Draw throughput over the length of texts, and over the size of requests."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    lengths, batches = figure.subplots(1, 2)
    by_batch: dict[int, dict[int, float]] = defaultdict(dict)
    for case in content["cases"]:
        by_batch[case["texts_per_request"]][int(case["shape"].partition(":")[2])] = case["summary"]["texts_per_s"]
    for batch, rates in by_batch.items():
        lengths.plot(list(rates), list(rates.values()), "-o", markersize=3, label=f"{batch} a request")
    for length in next(iter(by_batch.values())):
        batches.plot(list(by_batch), [rates[length] for rates in by_batch.values()], "-o", markersize=3, label=f"{length} tokens")
    lengths.set(xlabel="tokens of a text", ylabel="texts/s", xscale="log", yscale="log")
    batches.set(xlabel="texts a request", xscale="log", yscale="log")
    for axes in (lengths, batches):
        axes.legend()
    _save(figure, path)


def _by_target(content: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the answered cases of the first shape and request size by target, levels rising."""
    first = content["cases"][0]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in content["cases"]:
        same = all(case[name] == first[name] for name in ("shape", "texts_per_request", "part"))
        if same and case["summary"]["p50_ms"] is not None:
            found[case["target"]].append(case)
    return found


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
