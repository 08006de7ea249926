"""Starts what is measured, fresh for each case, and tells where it is. Knows no load and no request."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .server_process import server_process

NAMES = ("server", "triton", "server-triton", "infinity")
_START_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Programs:
    """What can be started: the committed model's folder, and the Python of each environment, or "" where there is none."""

    model: Path
    server: str
    triton: str = ""
    infinity: str = ""

    def has(self, name: str) -> bool:
        """Whether one of `NAMES` can be started here."""
        match name:
            case "infinity":  # its environment is empty where the Python is too new for it
                return (Path(self.infinity).parent / "infinity_emb").is_file()
            case "triton" | "server-triton":
                return Path(self.triton).is_file()
            case _:
                return Path(self.server).is_file()


@dataclass(frozen=True, slots=True)
class Running:
    """A target: its URL as `targets.connected` reads it, its processes if they are ours, and its pages of metrics."""

    url: str
    pids: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()


@contextmanager
def started(name: str, programs: Programs) -> Iterator[Running]:
    """Start one of `NAMES` and stop it; a URL is passed through.

    Raises:
        RuntimeError: it does not start.
    """
    if name in NAMES and not programs.has(name):
        raise RuntimeError(f"{name} cannot be started: its environment, which `make` creates, is not there")
    match name:
        case "server":
            with _server(programs) as running:
                yield running
        case "triton":
            with _triton(programs) as (_, running):
                yield running
        case "server-triton":
            with (
                _triton(programs) as (address, triton),
                _server(programs, EMPATHETIC_CLASSIFIER="triton", EMPATHETIC_TRITON_URLS=address) as server,
            ):
                yield Running(server.url, server.pids + triton.pids, server.metrics + triton.metrics)
        case "infinity":
            with _infinity(programs) as running:
                yield running
        case _:
            yield Running(name)


@contextmanager
def _server(programs: Programs, **settings: str) -> Iterator[Running]:
    """Start the server as it is shipped, but for the page and the log of every request."""
    quiet = {"EMPATHETIC_PAGE": "false", "EMPATHETIC_LOG_LEVEL": "warning", "EMPATHETIC_GENERATOR": "written"}
    with server_process(programs.server, EMPATHETIC_MODEL_REPOSITORY=str(programs.model.parent), **quiet, **settings) as (address, pid):
        yield Running(f"{address}/v1/emotions", (pid,), (f"{address}/metrics",))


@contextmanager
def _triton(programs: Programs) -> Iterator[tuple[str, Running]]:
    """Start Triton as `make triton` does; yields the address of its gRPC, too."""
    http, grpc, metrics = _free_ports(3)
    ports = [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    command = [programs.triton, "deploy/run_triton.py", f"--model-repository={programs.model.parent.resolve()}", *ports]
    with _process(command, f"http://127.0.0.1:{http}/v2/health/ready") as pid:
        address = f"127.0.0.1:{grpc}"
        yield address, Running(f"grpc://{address}/{programs.model.name}", (pid,), (f"http://127.0.0.1:{metrics}/metrics",))


@contextmanager
def _infinity(programs: Programs) -> Iterator[Running]:
    (port,) = _free_ports(1)
    script = Path(__file__).with_name("infinity_server.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [programs.infinity, str(script), "--port", str(port), "--folder", folder]
        command += ["--tokenizer", str((programs.model / "tokenizer.json").resolve())]
        with _process(command, f"http://127.0.0.1:{port}/health", folder) as pid:
            yield Running(f"http://127.0.0.1:{port}/classify", (pid,))


@contextmanager
def _process(command: list[str], ready: str, folder: str | None = None) -> Iterator[int]:
    """Run a command, in a folder, until the block ends, which begins when the URL `ready` answers."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder) as process,  # noqa: S603  # the user's own interpreters
    ):
        try:
            try:
                until_answered(ready, process)
            except RuntimeError as exc:
                log.seek(0)
                raise RuntimeError(f"{Path(command[1]).name} did not start: {log.read().decode(errors='replace')[-2000:]}") from exc
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def until_answered(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a URL answers with 200.

    Raises:
        RuntimeError: it does not in time, or the process has ended.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if (process and process.poll() is not None) or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # http, built by us
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    ports = [int(found.getsockname()[1]) for found in sockets]
    for found in sockets:
        found.close()
    return ports
