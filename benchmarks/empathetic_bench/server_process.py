"""Starts and stops the server under test as a process, with the interpreter of the server's own environment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server_process(python: str, **settings: str) -> Iterator[tuple[str, int]]:
    """Start a server on a free port, yield its address and process id, and stop it.

    Raises:
        RuntimeError: it did not start; its own message is in the exception.
    """
    environment = {**os.environ, "EMPATHETIC_PORT": "0", "EMPATHETIC_SESSIONS": "memory://", **settings}
    with subprocess.Popen([python, "-m", "empathetic_server"], env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # the user's own interpreter
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://\S+:\d+", line)
            if not found:
                raise RuntimeError("the server did not start; its reason is above")
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def running_server(python: str, **settings: str) -> Iterator[str]:
    """Start a server as `server_process` does, and yield its address alone."""
    with server_process(python, **settings) as (address, _):
        yield address
