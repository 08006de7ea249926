"""`empathetic-bench classifier`: the committed model offline and behind servers, beside its peers, in one run.

Every round measures every case in turn, in a fresh process or against a fresh server, so that ratios hold when the machine's speed
drifts. Before anything is timed, whatever serves the committed model must give the offline scores (parity.py).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import environment, loads, parity, report
from .launching import Programs, started, until_answered
from .offline import tokenizer_of
from .samples import Round, ratios, summarize
from .server_process import server_process
from .targets import Target, connected
from .texts import Texts, goemotions, synthetic
from .usage import Usage

CEILING = "offline"
# What every row is, in the table's order.
ROWS = {
    CEILING: "ONNX Runtime, no server, sorted by length, the best batch size",
    "http-bulk": "server, 64 texts a request, 4 clients",
    "http-many": "server, 1 text a request, 64 clients",
    "http-one": "server, 1 text a request, 1 client",
    "offline-one": "ONNX Runtime, no server, 1 text at a time",
    "triton-bulk": "Triton alone over gRPC, 64 texts a request, 4 clients",
    "server-triton-bulk": "server over Triton, 64 texts a request, 4 clients",
    "infinity-bulk": "infinity-emb, 64 texts a request, 4 clients",
    "infinity-one": "infinity-emb, 1 text a request, 1 client",
    "pytorch": "PyTorch fp32, sorted by length, batches of 32",
    "pipeline": "the tutorial's `transformers.pipeline`, batches of 32",
    "pipeline-one": "the tutorial's `transformers.pipeline`, 1 text at a time",
    "http-idle": "server, 10 single texts/s at random (open loop), nothing else",
    "http-under-bulk": "the same while 4 clients send 64 texts a request",
}
# Sizes tried for the ceiling; the best one is used for all rounds.
_CEILING_BATCHES = (8, 16, 32, 64)
_INTERACTIVE_PER_S = 10
_MIXED_SECONDS = 8.0
# A slow peer gets through as many texts as it can by then.
_SERVED_SECONDS = 10.0

_Entry = tuple[Round, dict[str, float]]


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured, and where the result goes. `data` is the folder with test.tsv; without it texts are synthetic."""

    programs: Programs
    data: Path | None
    rounds: int
    count: int
    output: Path


@dataclass(frozen=True, slots=True)
class Case:
    """One round of a row, or of several that are measured together; `target` is what it starts, None for offline ones."""

    measure: Callable[[], Awaitable[dict[str, _Entry]]]
    target: str | None = None


def run(config: BenchConfig, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure all cases whose programs are there, and write the result file.

    Raises:
        ParityError: a server disagrees with the offline model.
        OSError, RuntimeError: the texts or the server are not to be had.
    """
    texts = _texts(config)
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts.texts))
        best = _best_batch(config, file, threads, tell)
        # One event loop for all: gRPC serves the loops of a process together, and trips over one that was closed.
        content = asyncio.run(_measure(config, file, texts, threads=threads, best=best, tell=tell))
    report.write(config.output, content)
    return content


async def _measure(
    config: BenchConfig, file: Path, texts: Texts, *, threads: int, best: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    cases = [
        case for case in _cases(config, file, texts, threads=threads, best=best) if not case.target or config.programs.has(case.target)
    ]
    difference = await _parity(config, {case.target for case in cases if case.target}, texts.texts, threads, tell)
    measured: dict[str, list[_Entry]] = {}
    start_s = []
    for number in range(config.rounds):
        for case in cases:
            for name, entry in (await case.measure()).items():
                measured.setdefault(name, []).append(entry)
                tell(f"round {number + 1}/{config.rounds}  {name:<22} {entry[0].texts_per_s:8.1f} texts/s")
        start_s.append(_start_seconds(config))
    rounds = {name: [one for one, _ in entries] for name, entries in measured.items()}
    return {
        "benchmark": "classifier",
        **environment.describe(("onnxruntime", "tokenizers", "torch", "transformers", "fastapi", "uvicorn", "aiohttp", "tritonclient")),
        "threads": threads,
        "texts": {
            "name": texts.name,
            "count": len(texts.texts),
            "sha256": texts.sha256,
            "mean_tokens": _mean_tokens(config.programs.model, texts),
        },
        "parity_max_difference": difference,
        "start_s": start_s,
        "cases": [
            {
                "name": name,
                "shape": ROWS[name].replace("the best batch size", f"batches of {best}"),
                "summary": summarize(rounds[name]),
                "ratio_to_ceiling": ratios(rounds[name], rounds[CEILING]),
                "used": [used for _, used in measured[name]],
                "rounds": [one.as_dict() for one in rounds[name]],
            }
            for name in ROWS
            if name in rounds
        ],
    }


def _texts(config: BenchConfig) -> Texts:
    if config.data is None:
        return synthetic(tokenizer_of(config.programs.model), config.count)
    found = goemotions(config.data)
    return Texts(found.name, found.texts[: config.count])


def _mean_tokens(model: Path, texts: Texts) -> float:
    tokenizer = tokenizer_of(model)
    return round(float(np.mean([len(encoding) for encoding in tokenizer.encode_batch_fast(texts.texts)])), 2)


async def _parity(config: BenchConfig, names: set[str], texts: list[str], threads: int, tell: Callable[[str], None]) -> float:
    """Return the largest difference of a probability from the offline one, over all targets."""
    differences = []
    for name in sorted(names):
        with started(name, config.programs) as running:
            async with connected(running.url, config.programs.model) as target:
                found = await parity.check(name, target, config.programs.model, texts, threads)
        tell(f"parity of {name}: " + ("random weights, only the shape is compared" if found is None else f"largest difference {found:.1e}"))
        differences += [] if found is None else [found]
    return max(differences)


def _start_seconds(config: BenchConfig) -> float:
    """Return the seconds from the start of the server, as it is shipped, to its being ready."""
    before = time.perf_counter()
    with server_process(config.programs.server, EMPATHETIC_MODEL_REPOSITORY=str(config.programs.model.parent)) as (address, _):
        until_answered(f"{address}/readyz")
        return round(time.perf_counter() - before, 3)


def _offline(config: BenchConfig, texts: Path, target: str, *, threads: int, batch_size: int, sort: bool) -> Round:
    """Run one round in a fresh process."""
    command = [sys.executable, "-m", "empathetic_bench.offline", target, "--texts", str(texts), "--model", str(config.programs.model)]
    command += ["--threads", str(threads), "--batch-size", str(batch_size), *(["--sort"] if sort else [])]
    environment_ = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment_).stdout  # noqa: S603  # our own module
    return Round(**json.loads(printed.splitlines()[-1]))


def _best_batch(config: BenchConfig, texts: Path, threads: int, tell: Callable[[str], None]) -> int:
    speeds = {
        size: _offline(config, texts, "onnxruntime", threads=threads, batch_size=size, sort=True).texts_per_s for size in _CEILING_BATCHES
    }
    for size, speed in speeds.items():
        tell(f"ceiling, batches of {size:<3} {speed:8.1f} texts/s")
    return max(speeds, key=speeds.__getitem__)


def _cases(config: BenchConfig, file: Path, texts: Texts, *, threads: int, best: int) -> list[Case]:
    # A text a call is slow: a quarter of the texts gives as many samples as the batched cases have calls, and more.
    few = texts.texts[: max(64, len(texts.texts) // 4)]
    few_file = file.with_name("few.json")
    few_file.write_text(json.dumps(few))

    def offline(name: str, program: str, size: int, sort: bool) -> Case:
        async def measure() -> dict[str, _Entry]:
            one = _offline(config, few_file if size == 1 else file, program, threads=threads, batch_size=size, sort=sort)
            return {name: (one, {})}

        return Case(measure)

    def served(name: str, program: str, chosen: list[str], clients: int, each: int) -> Case:
        requests = [chosen[start : start + each] for start in range(0, len(chosen), each)]

        async def measure() -> dict[str, _Entry]:
            with started(program, config.programs) as running:
                async with connected(running.url, config.programs.model) as target:
                    await loads.closed(target.send, requests[: 2 * clients], clients=clients)
                    usage = Usage(running.pids, running.metrics)
                    one = await loads.closed(target.send, requests, clients=clients, seconds=_SERVED_SECONDS)
                    return {name: (one, usage.report(sum(one.latencies_ms) / 1000, one.texts))}

        return Case(measure, program)

    async def mixed() -> dict[str, _Entry]:
        with started("server", config.programs) as running:
            async with connected(running.url, config.programs.model) as target:
                return await _mixed(target, texts.texts)

    return [
        offline(CEILING, "onnxruntime", best, True),
        served("http-bulk", "server", texts.texts, 4, 64),
        served("http-many", "server", few, 64, 1),
        served("http-one", "server", few, 1, 1),
        Case(mixed, "server"),
        offline("offline-one", "onnxruntime", 1, False),
        served("triton-bulk", "triton", texts.texts, 4, 64),
        served("server-triton-bulk", "server-triton", texts.texts, 4, 64),
        served("infinity-bulk", "infinity", few, 4, 64),
        served("infinity-one", "infinity", few[: len(few) // 4], 1, 1),
        offline("pytorch", "pytorch", 32, True),
        offline("pipeline", "pipeline", 32, False),
        offline("pipeline-one", "pipeline", 1, False),
    ]


async def _mixed(target: Target, texts: list[str]) -> dict[str, _Entry]:
    singles, many = [[text] for text in texts], [texts[start : start + 64] for start in range(0, len(texts), 64)]
    await loads.closed(target.send, singles[:16], clients=1)
    parts = await loads.mixed(
        partial(target.send, priority="interactive"),
        itertools.cycle(singles),
        partial(target.send, priority="bulk"),
        itertools.cycle(many),
        rate_per_s=_INTERACTIVE_PER_S,
        seconds=_MIXED_SECONDS,
    )
    return {"http-idle": (parts["idle"], {}), "http-under-bulk": (parts["under bulk"], {})}
