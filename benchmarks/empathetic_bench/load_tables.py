"""Renders what `empathetic-bench load` has measured. Knows no measuring."""

from __future__ import annotations

from statistics import fmean, median
from typing import Any

UNMEASURED = "not measured yet"
# What cannot be told of a row.
UNKNOWN = "-"
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")
# Columns of what the server used: heading → name, how a value is shown.
USED = {
    "cores": ("cpu_cores", "{:.2f}"),
    "MiB": ("memory_mib", "{:.0f}"),
    "queue": ("queue_share", "{:.0%}"),
    "compute": ("compute_share", "{:.0%}"),
    "padding": ("padding_share", "{:.0%}"),
}


def load_table(content: dict[str, Any]) -> str:
    """Return the rows of a load, the throughput within the objective, and a caption."""
    first = content["cases"][0]["target"]
    head = ["target", "texts", "a request", content["level"], "texts/s", f"of {first}", "p50 ms", "p90", "p99", "p99.9", "errors", *USED]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    lines += [f"| {' | '.join(_row(case))} |" for case in content["cases"]]
    lines += ["", _within_objective(content), "", _caption(content)]
    return "\n".join(lines)


def _row(case: dict[str, Any]) -> list[str]:
    summary, ratio = case["summary"], case["ratio"]
    level = f"{case['level']} {case['part']}".strip()
    row = [case["target"], case["shape"], str(case["texts_per_request"]), level, f"{summary['texts_per_s']:.0f}", spread(ratio)]
    row += [shown_ms(summary[name]) for name in PERCENTILES]
    return [*row, str(summary["errors"]), *mean_used(case["used"])]


def spread(values: list[float]) -> str:
    """Return a median with the lowest and the highest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else UNKNOWN


def shown_ms(value: float | None) -> str:
    """Return a latency; None is that of a case in which nothing was answered."""
    return "no answer" if value is None else f"{value:.1f}"


def mean_used(used: list[dict[str, float]]) -> list[str]:
    """Return the columns of what a server used, as means over rounds."""
    by_name = {name: [one[name] for one in used if name in one] for name, _ in USED.values()}
    return [shown.format(fmean(by_name[name])) if by_name[name] else UNKNOWN for name, shown in USED.values()]


def _within_objective(content: dict[str, Any]) -> str:
    """Return the highest throughput of each target whose p99 is within the objective and that has no error."""
    best: dict[tuple[str, str, int], float] = {}
    for case in content["cases"]:
        key, summary = (case["target"], case["shape"], case["texts_per_request"]), case["summary"]
        is_within = summary["p99_ms"] is not None and summary["p99_ms"] <= content["objective_ms"] and not summary["errors"]
        best[key] = max(best.get(key, 0.0), summary["texts_per_s"] if is_within else 0.0)
    told = [f"{target}, {shape}, {each} a request: {rate:.0f}" for (target, shape, each), rate in best.items() if rate]
    if not all(best.values()):
        told.append("the others: none of these levels" if told else "none of these levels")
    return f"Most texts/s with a p99 within {content['objective_ms']:g} ms and no error: {'; '.join(told)}."


def _caption(content: dict[str, Any]) -> str:
    hardware, versions = content["hardware"], content["versions"]
    rounds = max(len(case["rounds"]) for case in content["cases"])
    return (
        f"{hardware['processor']}, {hardware['cores']} cores, clients on the same cores. Load: {content['load']}, {content['seconds']:g} s "
        f"a level; {rounds} rounds in turn, every target fresh in each; the ratio is taken round by round (median, lowest to highest). "
        "Cores and MiB are the server's processes'; queue is the share of the answers' time spent waiting, compute the time in "
        "which threads run the model for each second (200 % are two threads without a pause), "
        f"padding the share of the tokens; {UNKNOWN} is what a target does not tell. "
        f"ONNX Runtime {versions['onnxruntime']}. Command: `{content['command']}`."
    )
