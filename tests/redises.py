"""A real `redis-server` for tests: started on a free port with its log of changes, stopped at the end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.tritons import free_ports

PASSWORD = "a-password-of-the-tests"  # noqa: S105  # of a server that lives for one test


@dataclass
class Redis:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """What EMPATHETIC_SESSIONS is set to."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client of the test's own."""
        return redis.Redis.from_url(self.url)

    def flush(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        """Kill it, and wait until its port is free."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def redis_server(folder: Path, *, port: int | None = None) -> Iterator[Redis]:
    """Start Redis on a folder, where it finds what an earlier one has written, and wait until it answers."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: `make test-deps` installs it")
    port = port or free_ports(1)[0]
    flags = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--requirepass", PASSWORD, "--save", ""]
    flags += ["--appendonly", "yes", "--appendfsync", "always"]
    with subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL) as process:
        started = Redis(process, port)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    with started.client() as client:
                        client.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield started
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
