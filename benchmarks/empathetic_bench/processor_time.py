"""How much processor time the server takes for a start and for an answer: `empathetic-bench processor-time`. Linux alone.

Time on a processor, by the kernel's count, hardly depends on what else the machine does; time on the clock does. The main thread runs
the event loop, whose time is Python's overhead; the whole process adds tokenization, the model and the session store.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from . import environment, report
from .samples import percentile
from .scripted_engine import scripted_engine

# What the engine says, token by token.
_SAID: tuple[str, ...] = ("I", "'m", " sorry", " to", " hear", " that", ".")
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


async def _converse(
    session: aiohttp.ClientSession, address: str, client: int, requests: int, _: int, finish_reason: str = "fallback"
) -> None:
    async with session.ws_connect(f"{address}/v1/chat/ws") as chat:
        await chat.send_json({"type": "hello"})
        await chat.receive_json()
        for number in range(requests):
            await chat.send_json({"type": "message", "text": _TEXTS[(client + number) % len(_TEXTS)], "client_id": f"{number}"})
            while (frame := await chat.receive_json())["type"] not in ("done", "error"):
                pass
            if frame.get("finish_reason") != finish_reason:
                raise RuntimeError(f"a turn failed: {frame}")


class Load(NamedTuple):
    """What each client does, how many there are, how often each does it, with how many texts, and who writes replies."""

    work: Callable[[aiohttp.ClientSession, str, int, int, int], Awaitable[None]]
    clients: int
    requests: int
    texts: int = 1
    generator: str = "written"


LOADS = {
    "single": Load(_classify, 64, 30),
    "bulk": Load(_classify, 4, 15, texts=64),
    "chat": Load(_converse, 16, 30),
    "engine": Load(partial(_converse, finish_reason="stop"), 16, 30, generator="vllm"),
}


class Spent(NamedTuple):
    """Milliseconds on a processor: for the start until the server listens; for a request on the event loop and in all threads."""

    start_ms: float
    loop_ms: float
    whole_ms: float


def measure(python: str, load: Load, **settings: str) -> Spent:
    """Start a server, load it, and stop it; raises RuntimeError when it does not start or answers with an error."""
    listening = socket.create_server(("127.0.0.1", 0))
    engine = {"EMPATHETIC_GENERATOR": load.generator, "EMPATHETIC_VLLM_URL": f"http://127.0.0.1:{listening.getsockname()[1]}/v1"}
    defaults = {"EMPATHETIC_PAGE": "false", "EMPATHETIC_SESSIONS": "memory://", **engine}
    environment = {**os.environ, **defaults, "EMPATHETIC_PORT": "0", "EMPATHETIC_LOG_LEVEL": "warning", **settings}
    command = [python, "-m", "empathetic_server"]
    with listening, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # the user's own interpreter
        try:
            found = re.search(r"http://\S+:\d+", process.stdout.readline() if process.stdout else "")
            if not found:
                raise RuntimeError("the server did not start; its reason is above")
            _, start_s = _spent(process.pid)
            loop_s, whole_s = asyncio.run(_load(found[0], process.pid, load, listening))
        finally:
            process.terminate()
            process.wait(60)
    return Spent(1000 * start_s, 1000 * loop_s, 1000 * whole_s)


async def _load(address: str, process: int, load: Load, listening: socket.socket) -> tuple[float, float]:
    connector = aiohttp.TCPConnector(limit=0)
    async with scripted_engine(lambda _: _SAID, listening), aiohttp.ClientSession(connector=connector, raise_for_status=True) as session:

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


def run(python: str, output: Path, *, rounds: int, with_page: bool) -> dict[str, Any]:
    """Measure several starts of the server under every load, and write the result file; EMPATHETIC_* variables are its settings.

    Raises:
        RuntimeError: as `measure` does.
        OSError: this is no Linux, or the file cannot be written.
    """
    page = str(with_page).lower()
    loads = {name: [measure(python, load, EMPATHETIC_PAGE=page)._asdict() for _ in range(rounds)] for name, load in LOADS.items()}
    content = {"benchmark": "processor-time", **environment.describe(("aiohttp",)), "page": with_page, "rounds": rounds, "loads": loads}
    report.write(output, content)
    return content


def table(content: dict[str, Any]) -> str:
    """Return the medians, a line for each load."""
    lines = ["| load | start, ms | event loop, ms a request | whole process, ms a request |", "|---|---:|---:|---:|"]
    for name, rounds in content["loads"].items():
        start, loop, whole = (percentile([spent[part] for spent in rounds], 50) for part in Spent._fields)
        lines.append(f"| {name} | {start:.0f} | {loop:.2f} | {whole:.2f} |")
    return "\n".join(lines)
