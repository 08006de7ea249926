"""Renders what `empathetic-bench classifier` has measured: the README's table, and its longer form. Knows no measuring."""

from __future__ import annotations

from typing import Any

from .classifier_cases import OPEN, ROWS
from .load_tables import PERCENTILES, UNKNOWN, UNMEASURED, USED, mean_used, shown_ms, spread
from .samples import Round, summarize


def classifier_table(content: dict[str, Any]) -> str:
    """Return a row for every case with hardware and texts below it."""
    lines = ["| what | texts/s | of the ceiling | p50 ms | p99 ms |", "|---|---:|---:|---:|---:|"]
    cases = {case["name"]: case for case in content["cases"]}
    for name, words in ROWS.items():
        if name in OPEN:
            continue
        if name not in cases:
            lines.append(f"| {words} | {UNMEASURED} | | | |")
            continue
        summary, ratio = cases[name]["summary"], cases[name]["ratio_to_ceiling"]
        row = [
            cases[name]["shape"],
            f"{summary['texts_per_s']:.0f}",
            spread(ratio),
            shown_ms(summary["p50_ms"]),
            shown_ms(summary["p99_ms"]),
        ]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", _caption(content, "benchmarks/results")])


def latency_table(content: dict[str, Any]) -> str:
    """Return every percentile of every case, from the raw samples, with what the server used."""
    head = ["what", "texts/s", "of the ceiling", "p50 ms", "p90", "p99", "p99.9", "calls", "errors", *USED]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    cases = {case["name"]: case for case in content["cases"]}
    for name, words in ROWS.items():
        if name not in cases:
            lines.append(f"| {words} | {UNMEASURED} |{' |' * (len(head) - 2)}")
            continue
        case = cases[name]
        summary, ratio = summarize([Round(**one) for one in case["rounds"]]), case["ratio_to_ceiling"]
        row = [case["shape"], *([UNKNOWN] * 2 if name in OPEN else [f"{summary['texts_per_s']:.0f}", spread(ratio)])]
        row += [shown_ms(summary[key]) for key in PERCENTILES]
        row += [str(summary["calls"]), str(summary["errors"]), *mean_used(case.get("used", []))]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", _caption(content, "../benchmarks/results")])


def _caption(content: dict[str, Any], results: str) -> str:
    hardware, versions, texts = content["hardware"], content["versions"], content["texts"]
    return " ".join(
        (
            f"{hardware['processor']}, {hardware['cores']} cores, {content['threads']} threads; clients on the same cores.",
            f"{texts['count']} texts ({texts['name']}, {texts['mean_tokens']} tokens on average),",
            f"{len(content['cases'][0]['rounds'])} rounds in turn: median throughput, ratio to the first row round by round",
            f"(median, lowest to highest), percentiles per call. ONNX Runtime {versions['onnxruntime']}, torch {versions['torch']},",
            f"transformers {versions['transformers']}. Command: `{content['command']}`.",
            f"Raw samples: [benchmarks/results/classifier.json]({results}/classifier.json).",
        )
    )
