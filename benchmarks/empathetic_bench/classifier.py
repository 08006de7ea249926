"""`empathetic-bench classifier`: the committed model offline and over HTTP beside the tutorial's way, in one run.

Every round measures every case in turn, so that ratios hold when the machine's speed drifts. Before anything is timed the
server must give the offline scores (the parity gate): a fast wrong answer has no row.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from . import environment, report
from .http_load import closed_loop
from .offline import onnx_target, tokenizer_of
from .samples import Round, ratios, summarize
from .server_process import running_server
from .texts import Texts, goemotions, synthetic

CEILING = "offline"
_PARITY_TEXTS = 256
_TOLERANCE = 1e-4
# Sizes tried for the ceiling; the best one is used for all rounds.
_CEILING_BATCHES = (8, 16, 32, 64)


class ParityError(Exception):
    """The server's scores are not the offline ones; nothing was measured."""


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured, and where the result goes."""

    model: Path
    server_python: str
    data: Path | None
    rounds: int
    count: int
    output: Path


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: its name, its shape in words, and one round of it."""

    name: str
    shape: str
    measure: Callable[[], Round]


def run(config: BenchConfig, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure all cases and write the result file.

    Raises:
        ParityError: the server disagrees with the offline model.
        OSError, RuntimeError: the texts or the server are not to be had.
    """
    texts = _texts(config)
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts.texts))
        # EMPATHETIC_MAX_QUEUED_TEXTS and the rest keep their defaults: the server is measured as it is shipped.
        with running_server(config.server_python, EMPATHETIC_MODEL_REPOSITORY=str(config.model.parent)) as address:
            difference = asyncio.run(_parity(config.model, address, texts.texts[:_PARITY_TEXTS], threads))
            tell(f"parity: largest difference of a probability {difference:.1e}")
            best = _best_batch(config, file, threads, tell)
            cases = _cases(config, file, address, texts, threads=threads, best=best)
            measured: dict[str, list[Round]] = {case.name: [] for case in cases}
            for number in range(config.rounds):
                for case in cases:
                    one = case.measure()
                    measured[case.name].append(one)
                    tell(f"round {number + 1}/{config.rounds}  {case.name:<22} {one.texts_per_s:8.1f} texts/s")
    content = {
        "benchmark": "classifier",
        **environment.describe(("onnxruntime", "tokenizers", "torch", "transformers", "fastapi", "uvicorn", "aiohttp")),
        "threads": threads,
        "texts": {"name": texts.name, "count": len(texts.texts), "sha256": texts.sha256, "mean_tokens": _mean_tokens(config.model, texts)},
        "parity_max_difference": difference,
        "cases": [
            {
                "name": case.name,
                "shape": case.shape,
                "summary": summarize(measured[case.name]),
                "ratio_to_ceiling": ratios(measured[case.name], measured[CEILING]),
                "rounds": [one.as_dict() for one in measured[case.name]],
            }
            for case in cases
        ],
    }
    report.write(config.output, content)
    return content


def _texts(config: BenchConfig) -> Texts:
    if config.data is None:
        return synthetic(tokenizer_of(config.model), config.count)
    found = goemotions(config.data)
    return Texts(found.name, found.texts[: config.count])


def _mean_tokens(model: Path, texts: Texts) -> float:
    tokenizer = tokenizer_of(model)
    return round(float(np.mean([len(encoding) for encoding in tokenizer.encode_batch_fast(texts.texts)])), 2)


async def _parity(model: Path, address: str, texts: list[str], threads: int) -> float:
    """Return the largest difference between the server's probabilities, all in one request, and each text alone offline."""
    target = onnx_target(model, threads)
    alone = np.concatenate([target([text]) for text in texts])
    async with aiohttp.ClientSession() as session, session.post(f"{address}/v1/emotions", json={"input": texts, "scores": True}) as answer:
        answer.raise_for_status()
        found = await answer.json()
    served = np.array([list(entry["scores"].values()) for entry in found["data"]])
    difference = float(np.abs(served - alone).max())
    if difference > _TOLERANCE:
        raise ParityError(f"the server's probabilities differ from the offline ones by {difference:.2e}, more than {_TOLERANCE}")
    return difference


def _offline(config: BenchConfig, texts: Path, target: str, *, threads: int, batch_size: int, sort: bool) -> Round:
    """Run one round in a fresh process."""
    command = [sys.executable, "-m", "empathetic_bench.offline", target, "--texts", str(texts), "--model", str(config.model)]
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


def _cases(config: BenchConfig, file: Path, address: str, texts: Texts, *, threads: int, best: int) -> list[Case]:
    # A text a call is slow: a quarter of the texts gives as many samples as the batched cases have calls, and more.
    singles = texts.texts[: max(64, len(texts.texts) // 4)]
    singles_file = file.with_name("singles.json")
    singles_file.write_text(json.dumps(singles))

    def over_http(chosen: list[str], clients: int, each: int) -> Callable[[], Round]:
        return lambda: asyncio.run(closed_loop(address, chosen, clients=clients, texts_per_request=each, warmup=2 * clients))

    def offline(target: str, size: int, sort: bool) -> Callable[[], Round]:
        chosen = singles_file if size == 1 else file
        return lambda: _offline(config, chosen, target, threads=threads, batch_size=size, sort=sort)

    return [
        Case(CEILING, f"ONNX Runtime, no server, sorted by length, batches of {best}", offline("onnxruntime", best, True)),
        Case("http-bulk", "server, 64 texts a request, 4 clients", over_http(texts.texts, 4, 64)),
        Case("http-many", "server, 1 text a request, 64 clients", over_http(singles, 64, 1)),
        Case("http-one", "server, 1 text a request, 1 client", over_http(singles, 1, 1)),
        Case("offline-one", "ONNX Runtime, no server, 1 text at a time", offline("onnxruntime", 1, False)),
        Case("pytorch", "PyTorch fp32, sorted by length, batches of 32", offline("pytorch", 32, True)),
        Case("pipeline", "the tutorial's `transformers.pipeline`, batches of 32", offline("pipeline", 32, False)),
        Case("pipeline-one", "the tutorial's `transformers.pipeline`, 1 text at a time", offline("pipeline", 1, False)),
    ]
