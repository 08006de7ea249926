"""How much processor time the server takes for a start and for an answer: `python -m empathetic_bench.processor_time`. Linux alone.

Time on a processor, by the kernel's count, hardly depends on what else the machine does; time on the clock does. The main thread runs
the event loop, whose time is Python's overhead; the whole process adds tokenization, the model and the session store.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp

from .samples import percentile

_TEXTS = (
    "I had a really bad day at work and I do not know whom to tell.",
    "My sister is getting married, and I am so happy for her!",
    "I keep thinking about the exam tomorrow, I am scared.",
    "It is just raining here, nothing special.",
    "He forgot my birthday again. I am furious.",
    "Thank you, that made my day!",
    "Why would anybody do that?",
    "We lost the game in the last minute, and the bus home was late as well, so nobody said a word for two hours.",
)
_WARMUP = 3


async def _classify(session: aiohttp.ClientSession, address: str, client: int, requests: int, texts: int) -> None:
    for number in range(requests):
        asked = [_TEXTS[(client + number + offset) % len(_TEXTS)] for offset in range(texts)]
        async with session.post(f"{address}/v1/emotions", json={"input": asked}) as response:
            await response.read()


async def _converse(session: aiohttp.ClientSession, address: str, client: int, requests: int, _: int) -> None:
    async with session.ws_connect(f"{address}/v1/chat/ws") as socket:
        await socket.send_json({"type": "hello"})
        await socket.receive_json()
        for number in range(requests):
            await socket.send_json({"type": "message", "text": _TEXTS[(client + number) % len(_TEXTS)], "client_id": f"{number}"})
            while (frame := await socket.receive_json())["type"] != "done":
                if frame["type"] == "error":
                    raise RuntimeError(f"a turn failed: {frame}")


class Load(NamedTuple):
    """What each client does, how many there are, how often each does it, and with how many texts."""

    work: Callable[[aiohttp.ClientSession, str, int, int, int], Awaitable[None]]
    clients: int
    requests: int
    texts: int = 1


LOADS = {"single": Load(_classify, 64, 30), "bulk": Load(_classify, 4, 15, texts=64), "chat": Load(_converse, 16, 30)}


class Spent(NamedTuple):
    """Milliseconds on a processor: for the start until the server listens; for a request on the event loop and in all threads."""

    start_ms: float
    loop_ms: float
    whole_ms: float


def measure(python: str, load: Load, **settings: str) -> Spent:
    """Start a server, load it, and stop it; raises RuntimeError when it does not start or answers with an error."""
    defaults = {"EMPATHETIC_PAGE": "false", "EMPATHETIC_SESSIONS": "memory://", "EMPATHETIC_GENERATOR": "written"}
    environment = {**os.environ, **defaults, "EMPATHETIC_PORT": "0", "EMPATHETIC_LOG_LEVEL": "warning", **settings}
    with subprocess.Popen([python, "-m", "empathetic_server"], env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # the user's own interpreter
        try:
            found = re.search(r"http://\S+:\d+", process.stdout.readline() if process.stdout else "")
            if not found:
                raise RuntimeError("the server did not start; its reason is above")
            _, start_s = _spent(process.pid)
            loop_s, whole_s = asyncio.run(_load(found[0], process.pid, load))
        finally:
            process.terminate()
            process.wait(60)
    return Spent(1000 * start_s, 1000 * loop_s, 1000 * whole_s)


async def _load(address: str, process: int, load: Load) -> tuple[float, float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), raise_for_status=True) as session:

        async def send(requests: int) -> None:
            await asyncio.gather(*(load.work(session, address, client, requests, load.texts) for client in range(load.clients)))

        await send(_WARMUP)
        before = _spent(process)
        await send(load.requests)
        after = _spent(process)
    loop_s, whole_s = ((end - begin) / (load.clients * load.requests) for begin, end in zip(before, after, strict=True))
    return loop_s, whole_s


def _spent(process: int) -> tuple[float, float]:
    """Return the seconds on a processor of a process's main thread, and of all its threads."""
    seconds = {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in Path(f"/proc/{process}/task").iterdir()}
    return seconds[str(process)], sum(seconds.values())


def main() -> None:
    """Measure, and print the medians of several starts of the server; EMPATHETIC_* variables are the server's settings."""
    parser = argparse.ArgumentParser(description="Processor time of the server.")
    parser.add_argument("loads", nargs="*", default=list(LOADS), metavar="LOAD", help=f"of {', '.join(LOADS)} (default: all)")
    parser.add_argument("--server-python", default=os.environ.get("EMPATHETIC_SERVER_PYTHON", sys.executable))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", action="store_true", help="with the web page")
    arguments = parser.parse_args()
    page = str(arguments.page).lower()
    for name in arguments.loads:
        rounds = [measure(arguments.server_python, LOADS[name], EMPATHETIC_PAGE=page) for _ in range(arguments.rounds)]
        start, loop, whole = (percentile(list(values), 50) for values in zip(*rounds, strict=True))
        sys.stdout.write(f"{name}: start {start:.0f} ms, event loop {loop:.2f} ms a request, whole process {whole:.2f} ms a request\n")


if __name__ == "__main__":
    main()
