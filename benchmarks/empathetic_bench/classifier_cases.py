"""The rows of `empathetic-bench classifier`, and how a round of each is measured: in a fresh process or against a fresh target."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import loads
from .launching import Programs, started
from .samples import Round
from .targets import connected
from .texts import Texts
from .usage import Entry, Usage

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
    "http-idle": "server, 25 single texts/s at random (open loop), nothing else",
    "http-under-bulk": "the same while 4 clients send 64 texts a request",
}
# Rows of an open loop: they have latencies, and no throughput of their own.
OPEN = ("http-idle", "http-under-bulk")
_INTERACTIVE_PER_S = 25
_MIXED_SECONDS = 6.0
# A slow peer gets through as many texts as it can by then.
_SERVED_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Case:
    """One round of a row, or of the two that are measured together; `target` is what it starts, None for offline ones."""

    measure: Callable[[], Awaitable[dict[str, Entry]]]
    target: str | None = None


def all_cases(programs: Programs, texts: Texts, folder: Path, *, threads: int, batch_size: int) -> list[Case]:
    """Return the cases in the order in which a round measures them.

    Args:
        programs: what is started.
        texts: what every case gets, in this order.
        folder: for files that the offline processes read.
        threads: of these.
        batch_size: of the ceiling.
    """
    # A text a call is slow: a quarter of the texts gives as many samples as the batched cases have calls, and more.
    few = texts.texts[: max(64, len(texts.texts) // 4)]

    def alone(name: str, program: str, size: int, *, sort: bool = False) -> Case:
        async def measure() -> dict[str, Entry]:
            chosen = few if size == 1 else texts.texts
            return {name: (offline_round(programs.model, chosen, folder, program, threads=threads, batch_size=size, sort=sort), {})}

        return Case(measure)

    def served(name: str, target: str, chosen: list[str], clients: int, each: int) -> Case:
        return Case(partial(_served, name, target, programs, _requests(chosen, each), clients), target)

    return [
        alone(CEILING, "onnxruntime", batch_size, sort=True),
        served("http-bulk", "server", texts.texts, 4, 64),
        served("http-many", "server", texts.texts, 64, 1),
        served("http-one", "server", few, 1, 1),
        Case(partial(_mixed, programs, texts.texts), "server"),
        alone("offline-one", "onnxruntime", 1),
        served("triton-bulk", "triton", texts.texts, 4, 64),
        served("server-triton-bulk", "server-triton", texts.texts, 4, 64),
        served("infinity-bulk", "infinity", texts.texts, 4, 64),
        served("infinity-one", "infinity", few, 1, 1),
        alone("pytorch", "pytorch", 32, sort=True),
        alone("pipeline", "pipeline", 32),
        alone("pipeline-one", "pipeline", 1),
    ]


def offline_round(model: Path, texts: list[str], folder: Path, program: str, *, threads: int, batch_size: int, sort: bool) -> Round:
    """Run one round of one of `offline.TARGETS` in a fresh process."""
    file = folder / "texts.json"
    file.write_text(json.dumps(texts))
    command = [sys.executable, "-m", "empathetic_bench.offline", program, "--texts", str(file), "--model", str(model)]
    command += ["--threads", str(threads), "--batch-size", str(batch_size), *(["--sort"] if sort else [])]
    variables = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=variables).stdout  # noqa: S603  # our own module
    return Round(**json.loads(printed.splitlines()[-1]))


async def _served(name: str, target: str, programs: Programs, requests: list[list[str]], clients: int) -> dict[str, Entry]:
    with started(target, programs) as running:
        async with connected(running.url, programs.model) as asked:
            await loads.closed(asked.send, requests[: 2 * clients], clients=clients)  # to warm up
            usage = Usage(running.pids, running.metrics)
            one = await loads.closed(asked.send, requests, clients=clients, seconds=_SERVED_SECONDS)
            return {name: (one, usage.report(one))}


async def _mixed(programs: Programs, texts: list[str]) -> dict[str, Entry]:
    singles, many = _requests(texts, 1), _requests(texts, 64)
    with started("server", programs) as running:
        async with connected(running.url, programs.model) as asked:
            await loads.closed(asked.send, singles[:16], clients=1)  # to warm up
            parts = await loads.mixed(
                partial(asked.send, priority="interactive"),
                itertools.cycle(singles),
                partial(asked.send, priority="bulk"),
                itertools.cycle(many),
                rate_per_s=_INTERACTIVE_PER_S,
                seconds=_MIXED_SECONDS,
            )
    return {"http-idle": (parts["idle"], {}), "http-under-bulk": (parts["under bulk"], {})}


def _requests(texts: list[str], each: int) -> list[list[str]]:
    return [texts[start : start + each] for start in range(0, len(texts), each)]
