"""Result files as runs leave them, with numbers of our own; the tests of tables, targets and plots read them."""

from __future__ import annotations

from typing import Any

from empathetic_bench.classifier_cases import CEILING, ROWS
from empathetic_bench.samples import Round, ratios, summarize

MACHINE = {
    "command": "empathetic-bench like this",
    "commit": "abc123",
    "hardware": {"processor": "Abacus", "cores": 2, "memory_gib": 4},
    "versions": {"onnxruntime": "1.0", "torch": "2.0", "transformers": "4.0"},
}
USED = {"cpu_cores": 1.5, "memory_mib": 200.0, "queue_share": 0.25}


def rounds(texts_per_s: list[float], latency_ms: float = 10.0, errors: int = 0) -> list[Round]:
    """Rounds of these throughputs, whose latencies are 1 to 100 hundredths of `latency_ms`."""
    return [Round(100, 100 / rate, [latency_ms * share / 100 for share in range(1, 101)], errors) for rate in texts_per_s]


def classifier(**by_row: list[Round]) -> dict[str, Any]:
    """A result of `empathetic-bench classifier` with these rows; the ceiling's is `offline`."""
    return {
        **MACHINE,
        "benchmark": "classifier",
        "threads": 2,
        "texts": {"name": "made up", "count": 100, "mean_tokens": 19.0},
        "parity_max_difference": 5e-7,
        "start_s": [2.0, 2.5],
        "cases": [
            {
                "name": name,
                "shape": ROWS[name],
                "summary": summarize(found),
                "ratio_to_ceiling": ratios(found, by_row[CEILING]),
                "used": [USED for _ in found],
                "rounds": [one.as_dict() for one in found],
            }
            for name, found in ((row.replace("_", "-"), found) for row, found in by_row.items())
        ],
    }


def load(kind: str, level: str, *cases: tuple[str, str, int, int, list[Round]]) -> dict[str, Any]:
    """A result of `empathetic-bench load`; a case is target, shape, texts a request, level and rounds."""
    return {
        **MACHINE,
        "benchmark": "load",
        "load": kind,
        "level": level,
        "seconds": 5.0,
        "objective_ms": 50.0,
        "cases": [
            {
                "target": target,
                "shape": shape,
                "texts_per_request": each,
                "level": at,
                "part": "",
                "summary": summarize(found),
                "ratio": ratios(found, found),
                "used": [USED for _ in found],
                "rounds": [one.as_dict() for one in found],
            }
            for target, shape, each, at, found in cases
        ],
    }


def chat(*, overhead_ms: list[float | None], classify_ms: float) -> dict[str, Any]:
    """A result of `empathetic-bench chat` of vLLM, alone and behind the server."""
    times = {"p50": 20.0, "p90": 21.0, "p99": 22.0, "p999": 23.0, "raw": [20.0]}
    nothing: dict[str, Any] = {**dict.fromkeys(("p50", "p90", "p99", "p999")), "raw": []}
    rounds = len(overhead_ms)
    case = {"first_ms": times, "gap_ms": times, "end_ms": times, "errors": 0, "ends": {"stop": 1}}
    alone = {"name": "engine alone", "classify_ms": nothing, "overhead_ms": [None] * rounds, "held_ms": [None] * rounds}
    served = {"name": "vllm, ws", "classify_ms": {**times, "p50": classify_ms}, "overhead_ms": overhead_ms, "held_ms": [5.0] * rounds}
    return {
        **MACHINE,
        "benchmark": "chat",
        "turns": 40,
        "clients": 1,
        "rounds": 3,
        "cases": [{**case, **alone}, {**case, **served}],
    }
