"""A real `tritonserver` for tests: started on free ports, stopped at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from empathetic_export import triton_repository
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.engines.triton_classifier import TritonClassifier
from empathetic_server.metrics import Metrics

from tests.server import tiny_artifact

ROOT = Path(__file__).parents[1]


@dataclass
class Triton:
    """A running server."""

    process: subprocess.Popen[bytes]
    log: Path
    grpc: str
    http: str
    metrics: str

    def children(self) -> list[int]:
        """Return the processes that the launcher has started or taken over: `tritonserver`, and what it leaves behind."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]
        except FileNotFoundError:  # it has ended
            return []

    def send_signal(self, number: int) -> None:
        """Signal `tritonserver` itself."""
        for pid in self.children():
            os.kill(pid, number)

    def kill(self) -> None:
        """Kill `tritonserver`, and wait until its port is free."""
        self.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def is_ready(self) -> bool:
        """Whether every model is loaded."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def counts(self, metric: str, **labels: str) -> float:
        """Return the sum of a Prometheus metric's samples that have these labels."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(float(line.split()[-1]) for line in lines if line.startswith(metric) and all(label in line for label in wanted))


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one event loop for a module's tests: gRPC serves the loops of a process together, and trips over one that was closed."""
    yield  # noqa: PT022  # without it, anyio would close the loop at once


def python() -> str:
    """Return the Python of Triton's environment."""
    found = os.environ.get("EMPATHETIC_TRITON_PYTHON", "")
    if not Path(found).is_file():
        pytest.skip("EMPATHETIC_TRITON_PYTHON names no Python: `make test` makes the environment and sets it")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    ports = [int(found.getsockname()[1]) for found in sockets]
    for found in sockets:
        found.close()
    return ports


def tiny_repository(folder: Path) -> Path:
    """Write the tiny artifact as the export writes a real one."""
    repository = tiny_artifact.build_artifact(folder)
    triton_repository.write_classifier(
        repository / triton_repository.CLASSIFIER,
        labels=len(tiny_artifact.LABELS),
        hidden_size=tiny_artifact.HIDDEN,
        max_length=tiny_artifact.MAX_LENGTH,
        tensorrt=False,
    )
    triton_repository.write_text_model(repository, labels=len(tiny_artifact.LABELS))
    return repository


@contextmanager
def launched(repository: Path, log: Path, *, ports: list[int] | None = None, flags: Sequence[str] = ()) -> Iterator[Triton]:
    """Start Triton as `make triton` does, without waiting for it."""
    http, grpc, metrics = ports or free_ports(3)
    flags = [*flags, f"--model-repository={repository}", f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    with (
        log.open("ab") as output,
        subprocess.Popen([python(), str(ROOT / "deploy" / "run_triton.py"), *flags], stdout=output, stderr=output) as process,
    ):
        triton = Triton(process, log, f"127.0.0.1:{grpc}", f"127.0.0.1:{http}", f"127.0.0.1:{metrics}")
        try:
            yield triton
        finally:
            triton.kill()


@contextmanager
def tritonserver(repository: Path, log: Path, **options: Any) -> Iterator[Triton]:
    """Start Triton and wait until it is ready."""
    with launched(repository, log, **options) as triton:
        deadline = time.monotonic() + 60
        while not triton.is_ready():
            assert triton.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield triton


@asynccontextmanager
async def engine(repository: Path, *addresses: str, max_queued_texts: int = 10_000) -> AsyncIterator[TritonClassifier]:
    built = TritonClassifier(
        read_manifest(repository), addresses=addresses, max_batch_tokens=256, max_queued_texts=max_queued_texts, metrics=Metrics()
    )
    try:
        await built.open()
        yield built
    finally:
        await built.aclose()


async def ask(classifier: Any, *texts: str, **changes: Any) -> Any:
    return await classifier.classify(texts, **{"priority": "bulk", "timeout_s": 30, **changes})


async def until(condition: Callable[[], bool], seconds: float = 20) -> float:
    """Wait for a condition and return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def load(triton: Triton) -> None:
    """Let Triton read the classifier again."""
    with tritonclient.grpc.InferenceServerClient(triton.grpc) as client:
        client.load_model("emotion_classifier")


def random_texts(count: int, seed: int = 1) -> list[str]:
    """Return texts of words that the tiny model knows."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(tiny_artifact.WORDS, size=length)) for length in generator.integers(1, 40, size=count)]
