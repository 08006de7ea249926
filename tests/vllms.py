"""A real vLLM for tests: started on a free port as `make vllm` does, stopped at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tritons import free_ports

ROOT = Path(__file__).parents[1]
_START_SECONDS = 240


@dataclass
class Vllm:
    """A running server."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def url(self) -> str:
        """What EMPATHETIC_VLLM_URL is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def running_requests(self) -> float:
        """Return vLLM's own count of the requests that it is writing."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))

    def family(self) -> list[int]:
        """Return the server's processes: itself, its engine, and the engine's workers."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                found.append(pid)
                waiting += map(int, children.read_text().split())
        return found

    def send_signal(self, number: int) -> None:
        """Signal all its processes."""
        for pid in self.family():
            os.kill(pid, number)


def python() -> str:
    """Return the Python of an environment that has vLLM."""
    found = os.environ.get("EMPATHETIC_VLLM_PYTHON", "")
    if not Path(found).is_file():
        pytest.skip("EMPATHETIC_VLLM_PYTHON names no Python: `make test` makes the environment and sets it")
    return found


def command(model: Path, port: int, *flags: str) -> list[str]:
    """Return what `make vllm` runs."""
    return [python(), str(ROOT / "deploy" / "run_vllm.py"), f"--model={model}", f"--port={port}", *flags]


@contextmanager
def vllm_server(model: Path, log: Path, *, port: int | None = None, flags: Sequence[str] = ()) -> Iterator[Vllm]:
    """Start vLLM without waiting for it; `wait_until_ready` does."""
    port = port or free_ports(1)[0]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (
        log.open("ab") as output,
        subprocess.Popen(command(model, port, *flags), stdout=output, stderr=output, env=environment) as process,
    ):
        started = Vllm(process, log, port)
        try:
            yield started
        finally:
            started.send_signal(signal.SIGKILL)


def wait_until_ready(started: Vllm) -> None:
    """Wait until the model is loaded."""
    deadline = time.monotonic() + _START_SECONDS
    while not started.is_ready():
        assert started.process.poll() is None, started.log.read_text()
        assert time.monotonic() < deadline, started.log.read_text()
        time.sleep(0.2)
