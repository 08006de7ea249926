"""`empathetic-bench load`: targets under a load of rising level, each started afresh for every round, in turn.

target (launching.py) x load (loads.py) x shape (texts.py) x texts a request
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import environment, loads, parity, report
from .launching import Programs, Running, started
from .offline import tokenizer_of
from .samples import Round, ratios, summarize
from .targets import Target, connected
from .texts import Texts, shaped
from .usage import Entry, Usage

# What a level is, and the levels that are tried when none are named.
LOADS: dict[str, tuple[str, tuple[int, ...]]] = {
    "closed": ("clients", (1, 2, 4, 8, 16, 32, 64)),
    "open": ("requests/s", (25, 50, 100, 150, 200, 300, 400, 600, 800)),
    "burst": ("requests at once", (16, 64, 256)),
    "mixed": ("interactive requests/s", (10,)),
    "impatient": ("clients", (64,)),
}
# Texts of a request of bulk clients, and of the warm-up.
_BULK_TEXTS = 64
_WARMUP_REQUESTS = 16
_TEXTS = 10_000
# An open loop is saturated when less than this share of what arrives in its time is answered by its end.
_SATURATED = 0.9


@dataclass(frozen=True, slots=True)
class LoadBench:
    """What is measured, and where the result goes.

    Attributes:
        programs: what is started.
        targets: names of `launching.NAMES`, or URLs; the first is what the others are compared with.
        load: a key of `LOADS`.
        levels: of the load; empty for its own.
        shapes: names as `texts.shaped` has them.
        texts_per_request: sizes of requests; mixed loads ask for single texts and for 64.
        data: folder with goemotions/ and bench/.
        seconds: how long a level is measured.
        rounds: how often.
        objective_ms: p99 within which throughput counts as useful.
        output: result file.
    """

    programs: Programs
    targets: tuple[str, ...]
    load: str
    levels: tuple[int, ...]
    shapes: tuple[str, ...]
    texts_per_request: tuple[int, ...]
    data: Path | None
    seconds: float
    rounds: int
    objective_ms: float
    output: Path


@dataclass(frozen=True, slots=True)
class _Key:
    """A row of the report; `part` tells the parts of a mixed load from each other."""

    target: str
    shape: str
    texts_per_request: int
    level: int
    part: str


def run(config: LoadBench, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure and write the result file.

    Raises:
        ParityError: a target disagrees with the offline model.
        Refused: a target does not answer at all.
        OSError, RuntimeError, ValueError: texts, targets or programs are not to be had.
    """
    tokenizer = tokenizer_of(config.programs.model)
    texts = {name: shaped(name, tokenizer, data=config.data, count=_TEXTS) for name in config.shapes}
    # One event loop for all: gRPC serves the loops of a process together, and trips over one that was closed.
    measured, differences = asyncio.run(_measure(config, texts, tell))
    cases = []
    for key, entries in measured.items():
        rounds = [one for one, _ in entries.values()]
        beside = measured.get(replace(key, target=config.targets[0]), {})
        common = [number for number in entries if number in beside]
        cases.append(
            {
                **asdict(key),
                "summary": summarize(rounds),
                "ratio": ratios([entries[number][0] for number in common], [beside[number][0] for number in common]),
                "used": [used for _, used in entries.values()],
                "rounds": [one.as_dict() for one in rounds],
            }
        )
    content = {
        "benchmark": "load",
        **environment.describe(("onnxruntime", "tokenizers", "fastapi", "uvicorn", "aiohttp", "tritonclient")),
        "load": config.load,
        "level": LOADS[config.load][0],
        "seconds": config.seconds,
        "objective_ms": config.objective_ms,
        "texts": [{"shape": name, "name": found.name, "count": len(found.texts), "sha256": found.sha256} for name, found in texts.items()],
        "parity_max_difference": differences,
        "cases": cases,
    }
    report.write(config.output, content)
    return content


async def _measure(
    config: LoadBench, texts: dict[str, Texts], tell: Callable[[str], None]
) -> tuple[dict[_Key, dict[int, Entry]], dict[str, float | None]]:
    """Return every row's rounds by their number, and each target's largest difference from the offline model."""
    measured: dict[_Key, dict[int, Entry]] = {}
    differences: dict[str, float | None] = {}
    checked = texts[config.shapes[0]].texts
    expected = parity.alone(config.programs.model, checked)
    for number, shape, each, name in itertools.product(range(config.rounds), config.shapes, config.texts_per_request, config.targets):
        with started(name, config.programs) as running:
            async with connected(running.url, config.programs.model) as target:
                if name not in differences:
                    differences[name] = await parity.check(name, target.scores, checked, expected)
                await loads.closed(target.send, _requests(texts[shape], each)[:_WARMUP_REQUESTS], clients=4)
                for level in config.levels or LOADS[config.load][1]:
                    parts = await _level(config, running, target, texts[shape], each=each, level=level)
                    for part, entry in parts.items():
                        measured.setdefault(_Key(name, shape, each, level, part), {})[number] = entry
                        row = f"{name}  {shape}  {each} a request  {level} {LOADS[config.load][0]}  {part}"
                        tell(f"round {number + 1}/{config.rounds}  {row}  {entry[0].texts_per_s:.1f} texts/s  {entry[0].errors} errors")
                    if config.load == "open" and _is_saturated(parts[""][0], config.seconds, each):
                        break
    return measured, differences


async def _level(config: LoadBench, running: Running, target: Target, texts: Texts, *, each: int, level: int) -> dict[str, Entry]:
    """Measure one level, and return its parts; all loads but the mixed have one, without a name."""
    requests, seconds = itertools.cycle(_requests(texts, each)), config.seconds
    if config.load == "mixed":
        interactive, bulk = partial(target.send, priority="interactive"), partial(target.send, priority="bulk")
        singles, many = itertools.cycle(_requests(texts, 1)), itertools.cycle(_requests(texts, _BULK_TEXTS))
        parts = await loads.mixed(interactive, singles, bulk, many, rate_per_s=level, seconds=seconds)
        return {part: (one, {}) for part, one in parts.items()}
    usage = Usage(running.pids, running.metrics)
    match config.load:
        case "closed":
            one = await loads.closed(target.send, requests, clients=level, seconds=seconds)
        case "open":
            one = await loads.open_loop(target.send, requests, rate_per_s=level, seconds=seconds)
        case "burst":
            one = await loads.burst(target.send, requests, size=level, seconds=seconds)
        case _:
            one = await loads.impatient(target.send, requests, clients=level, seconds=seconds)
    return {"": (one, usage.report(one))}


def _is_saturated(one: Round, seconds: float, each: int) -> bool:
    """Whether a target has fallen behind an open loop of some seconds: by what did arrive, which at random is not just the rate."""
    arrived = len(one.latencies_ms) + one.errors
    return one.texts_per_s < _SATURATED * arrived * each / seconds


def _requests(texts: Texts, each: int) -> list[list[str]]:
    return [texts.texts[start : start + each] for start in range(0, len(texts.texts), each)]
