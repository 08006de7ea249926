"""Holds every target of the project against the committed results, for docs/performance.md. Knows no measuring.

A figure that no result file has is "not measured"; nothing here is typed in by hand but the targets themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from .classifier_cases import CEILING
from .load_tables import UNMEASURED
from .samples import Round, percentile, ratios

# Result files by name, without those that are not there.
Results = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A target: `read` returns what was measured, a value for each round or one alone, or None."""

    what: str
    limit: float
    read: Callable[[Results], list[float] | None]
    unit: str = ""
    at_least: bool = True
    digits: int = 2


def target_table(results: Results) -> str:
    """Return every target with its figure and the gap."""
    lines = ["| what | target | measured | gap |", "|---|---:|---:|---|"]
    lines += [f"| {' | '.join(_row(goal, results))} |" for goal in GOALS]
    sources = [f"{name}.json (commit {content['commit']})" for name, content in sorted(results.items()) if name in _SOURCES]
    lines += ["", f"Median of the rounds (lowest to highest). From benchmarks/results/: {', '.join(sources) or UNMEASURED}."]
    return "\n".join(lines)


def _row(goal: Goal, results: Results) -> list[str]:
    target = f"{'≥' if goal.at_least else '≤'} {_shown(goal.limit, goal)}"
    values = goal.read(results)
    if not values:
        return [goal.what, target, UNMEASURED, ""]
    middle = median(values)
    spread = f" ({_shown(min(values), goal)} to {_shown(max(values), goal)})" if len(values) > 1 else ""
    short = goal.limit - middle if goal.at_least else middle - goal.limit
    gap = "none" if short <= 0 else f"{_shown(short, goal)} {'short' if goal.at_least else 'over'}"
    return [goal.what, target, f"{_shown(middle, goal)}{spread}", gap]


def _shown(value: float, goal: Goal) -> str:
    number = f"{value:.0e}" if goal.digits < 0 else f"{value:,.{goal.digits}f}"
    return f"{number}{goal.unit}"


def _rounds(results: Results, name: str) -> list[Round] | None:
    cases = results.get("classifier", {"cases": []})["cases"]
    return next(([Round(**one) for one in case["rounds"]] for case in cases if case["name"] == name), None)


def _throughput(name: str, reference: str) -> Callable[[Results], list[float] | None]:
    """Return the ratio of two cases' throughputs, round by round."""

    def read(results: Results) -> list[float] | None:
        ours, theirs = _rounds(results, name), _rounds(results, reference)
        return ratios(ours, theirs) if ours and theirs else None

    return read


def _latency(name: str, reference: str, share: float, compare: Callable[[float, float], float]) -> Callable[[Results], list[float] | None]:
    """Return a percentile of one case compared with that of another, round by round."""

    def read(results: Results) -> list[float] | None:
        ours, theirs = _rounds(results, name), _rounds(results, reference)
        if not ours or not theirs:
            return None
        pairs = zip(ours, theirs, strict=True)
        return [compare(percentile(one.latencies_ms, share), percentile(other.latencies_ms, share)) for one, other in pairs]

    return read


def _errors(results: Results) -> list[float] | None:
    rounds = _rounds(results, "http-many")
    return [float(one.errors) for one in rounds] if rounds else None


def _field(name: str, *path: str) -> Callable[[Results], list[float] | None]:
    """Return a figure of a result file, or the figures of a list."""

    def read(results: Results) -> list[float] | None:
        found: Any = results.get(name)
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, list) else None if found is None else [float(found)]

    return read


def _first_piece(*, held: bool) -> Callable[[Results], list[float] | None]:
    """Return what comes before the first piece over the WebSocket beyond vLLM's own time and the classification.

    Args:
        held: whether the time counts from vLLM's first token to the one that lets the first words go.
    """

    def read(results: Results) -> list[float] | None:
        cases = results.get("chat", {"cases": []})["cases"]
        case = next((case for case in cases if case["name"] == "vllm, ws"), None)
        if case is None:
            return None
        apart = [0.0] * len(case["overhead_ms"]) if held else case["held_ms"]
        rounds = zip(case["overhead_ms"], apart, strict=True)
        return [beyond - ms - case["classify_ms"]["p50"] for beyond, ms in rounds if beyond is not None and ms is not None]

    return read


def _lost_frames(results: Results) -> list[float] | None:
    content = results.get("sockets")
    return [content["lost_frames"] + content["errors"]] if content and (content["sockets"], content["active"]) == (500, 50) else None


def _loop_delay(results: Results) -> list[float] | None:
    content = results.get("sockets")
    return [100 * content["loop_delay"]["within_20_ms"]] if content and (content["sockets"], content["active"]) == (500, 50) else None


_SOURCES = ("chat", "classifier", "gpu", "quality", "sockets", "stop")

# The design's targets in its order; the chat's second row explains the first.
GOALS = (
    Goal("micro F1 on test, int8 model", 0.600, _field("quality", "rules", "per_label", "micro_f1", "value"), digits=3),
    Goal("macro F1 on test, int8 model", 0.540, _field("quality", "rules", "per_label", "macro_f1", "value"), digits=3),
    Goal("`POST /v1/emotions`, 64 texts a request, 4 clients, of the ceiling", 0.90, _throughput("http-bulk", CEILING)),
    Goal("one text a request, 64 clients, of the ceiling", 0.75, _throughput("http-many", CEILING)),
    Goal("the same: errors", 0, _errors, at_least=False, digits=0),
    Goal(
        "one text, one client: p50 beyond the bare model call",
        1.5,
        _latency("http-one", "offline-one", 50, lambda ours, theirs: ours - theirs),
        " ms",
        at_least=False,
    ),
    Goal(
        "interactive p99 while bulk saturates the engine, of its idle p99",
        3.0,
        _latency("http-under-bulk", "http-idle", 99, lambda ours, theirs: ours / theirs),
        " x",
        at_least=False,
    ),
    Goal("throughput against infinity-emb", 3.5, _throughput("http-bulk", "infinity-bulk"), " x"),
    Goal(
        "p50 of one text against infinity-emb",
        0.25,
        _latency("http-one", "infinity-one", 50, lambda ours, theirs: ours / theirs),
        " x",
        at_least=False,
    ),
    Goal("throughput against the tutorial's `pipeline()` call", 4.0, _throughput("http-bulk", "pipeline"), " x"),
    Goal(
        "a text alone against the same in a batch: largest difference of a probability",
        1e-4,
        _field("classifier", "parity_max_difference"),
        at_least=False,
        digits=-1,
    ),
    Goal("GPU, offline, Reddit comments", 25_000, _field("gpu", "offline_texts_per_s"), " texts/s", digits=0),
    Goal("GPU, over HTTP, Reddit comments", 10_000, _field("gpu", "http_texts_per_s"), " texts/s", digits=0),
    Goal("chat: first piece beyond vLLM's own and the classification, p50", 3.0, _first_piece(held=True), " ms", at_least=False),
    Goal("the same, without the tokens for which the first words are held", 3.0, _first_piece(held=False), " ms", at_least=False),
    Goal("500 WebSockets, 50 active: lost frames and errors", 0, _lost_frames, at_least=False, digits=0),
    Goal("500 WebSockets, 50 active: event loop no more than 20 ms late", 99, _loop_delay, " %", digits=1),
    Goal("stop to aborted in the engine, p99", 100, _field("stop", "engine_ms", "p99"), " ms", at_least=False, digits=0),
    Goal("start of the server to ready", 5.0, _field("classifier", "start_s"), " s", at_least=False),
)
