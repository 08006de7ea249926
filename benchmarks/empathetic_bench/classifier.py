"""`empathetic-bench classifier`: the committed model offline and behind servers, beside its peers, in one run.

Every round measures every case in turn, in a fresh process or against a fresh server, so that ratios hold when the machine's speed
drifts. Before anything is timed, whatever serves the committed model must give the offline scores (parity.py).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import environment, parity, report
from .classifier_cases import CEILING, ROWS, Case, all_cases, offline_round
from .launching import Programs, started, until_answered
from .offline import tokenizer_of
from .samples import ratios, summarize
from .server_process import server_process
from .targets import connected
from .texts import Texts, goemotions, synthetic
from .usage import Entry

# Sizes tried for the ceiling; the best one is used for all rounds.
_CEILING_BATCHES = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured, and where the result goes. `data` is the folder with test.tsv; without it texts are synthetic."""

    programs: Programs
    data: Path | None
    rounds: int
    count: int
    output: Path


def run(config: BenchConfig, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure all cases whose programs are there, and write the result file.

    Raises:
        ParityError: a server disagrees with the offline model.
        OSError, RuntimeError: the texts or the server are not to be had.
    """
    programs, texts, threads = config.programs, _texts(config), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        best = _best_batch(programs.model, texts, folder, threads, tell)
        cases = all_cases(programs, texts, folder, threads=threads, batch_size=best)
        here = [case for case in cases if not case.target or programs.has(case.target)]
        # One event loop for all: gRPC serves the loops of a process together, and trips over one that was closed.
        difference, measured, start_s = asyncio.run(_measure(config, here, texts.texts, tell))
    rounds = {name: [one for one, _ in entries] for name, entries in measured.items()}
    content = {
        "benchmark": "classifier",
        **environment.describe(("onnxruntime", "tokenizers", "torch", "transformers", "fastapi", "uvicorn", "aiohttp", "tritonclient")),
        "threads": threads,
        "texts": {
            "name": texts.name,
            "count": len(texts.texts),
            "sha256": texts.sha256,
            "mean_tokens": _mean_tokens(programs.model, texts),
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
    report.write(config.output, content)
    return content


async def _measure(
    config: BenchConfig, cases: list[Case], texts: list[str], tell: Callable[[str], None]
) -> tuple[float, dict[str, list[Entry]], list[float]]:
    """Return the largest difference from the offline model, every row's rounds, and the seconds of every start."""
    difference = await _parity(config.programs, {case.target for case in cases if case.target}, texts, tell)
    measured: dict[str, list[Entry]] = {}
    start_s = []
    for number in range(config.rounds):
        for case in cases:
            for name, entry in (await case.measure()).items():
                measured.setdefault(name, []).append(entry)
                tell(f"round {number + 1}/{config.rounds}  {name:<22} {entry[0].texts_per_s:8.1f} texts/s")
        start_s.append(_start_seconds(config.programs))
    return difference, measured, start_s


def _texts(config: BenchConfig) -> Texts:
    if config.data is None:
        return synthetic(tokenizer_of(config.programs.model), config.count)
    found = goemotions(config.data)
    return Texts(found.name, found.texts[: config.count])


def _mean_tokens(model: Path, texts: Texts) -> float:
    tokenizer = tokenizer_of(model)
    return round(float(np.mean([len(encoding) for encoding in tokenizer.encode_batch_fast(texts.texts)])), 2)


async def _parity(programs: Programs, names: set[str], texts: list[str], tell: Callable[[str], None]) -> float:
    """Return the largest difference of a probability from the offline one, over all targets."""
    expected, differences = parity.alone(programs.model, texts), []
    for name in sorted(names):
        with started(name, programs) as running:
            async with connected(running.url, programs.model) as target:
                found = await parity.check(name, target.scores, texts, expected)
        tell(f"parity of {name}: " + ("random weights, only the shape is compared" if found is None else f"largest difference {found:.1e}"))
        differences += [] if found is None else [found]
    return max(differences)


def _start_seconds(programs: Programs) -> float:
    """Return the seconds from the start of the server, as it is shipped, to its being ready."""
    before = time.perf_counter()
    with server_process(programs.server, EMPATHETIC_MODEL_REPOSITORY=str(programs.model.parent)) as (address, _):
        until_answered(f"{address}/readyz")
        return round(time.perf_counter() - before, 3)


def _best_batch(model: Path, texts: Texts, folder: Path, threads: int, tell: Callable[[str], None]) -> int:
    speeds = {}
    for size in _CEILING_BATCHES:
        speeds[size] = offline_round(model, texts.texts, folder, "onnxruntime", threads=threads, batch_size=size, sort=True).texts_per_s
        tell(f"ceiling, batches of {size:<3} {speeds[size]:8.1f} texts/s")
    return max(speeds, key=speeds.__getitem__)
