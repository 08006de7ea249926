"""`empathetic-bench sockets`: many open WebSockets, some of whose people talk, against a server that is started for it.

Each person who talks reads the whole reply, pauses for a time of an exponential distribution, and says the next thing.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from . import environment, report
from .samples import percentile
from .server_process import running_server

# What the people say, in turn: everyday messages of several feelings.
MESSAGES = (
    "I had a really bad day at work and I do not know whom to tell.",
    "My sister is getting married, and I am so happy for her!",
    "I keep thinking about the exam tomorrow, I am scared.",
    "It is just raining here, nothing special.",
    "He forgot my birthday again. I am furious.",
)
_DELAYS = re.compile(r'empathetic_loop_delay_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)')
_OPENED_AT_ONCE = 25


@dataclass
class _Person:
    """What one socket has seen."""

    first_ms: list[float] = field(default_factory=list)
    turn_ms: list[float] = field(default_factory=list)
    last_seq: int = 0
    lost_frames: int = 0
    errors: int = 0


def run(
    server_python: str, output: Path, *, sockets: int, active: int, seconds: float, pause_s: float, settings: dict[str, str]
) -> dict[str, Any]:
    """Open the sockets, let some of them talk, and write down what they and the server's metrics say.

    Args:
        server_python: interpreter that runs the server.
        output: result file.
        sockets: how many are open all the time.
        active: how many of them talk.
        seconds: how long they talk, after a second to warm up.
        pause_s: mean pause between a reply and the next message; 0 for none.
        settings: EMPATHETIC_* variables of the server.

    Raises:
        OSError, RuntimeError: the server does not start, or a socket cannot be opened.
    """
    with running_server(server_python, EMPATHETIC_PAGE="false", EMPATHETIC_LOG_LEVEL="warning", **settings) as address:
        people, loop_delay = asyncio.run(_talk(address, sockets, active, seconds, pause_s))
    turns = [value for person in people for value in person.turn_ms]
    first = [value for person in people for value in person.first_ms]
    content = {
        "benchmark": "sockets",
        **environment.describe(("aiohttp",)),
        "sockets": sockets,
        "active": active,
        "seconds": seconds,
        "pause_s": pause_s,
        "turns_per_s": len(turns) / seconds,
        "lost_frames": sum(person.lost_frames for person in people),
        "errors": sum(person.errors for person in people),
        "first_ms": _summary(first),
        "turn_ms": _summary(turns),
        "loop_delay": loop_delay,
    }
    report.write(output, content)
    return content


def summary(content: dict[str, Any]) -> str:
    """Return the result as a paragraph of Markdown."""
    first, turn, delay, hardware = content["first_ms"], content["turn_ms"], content["loop_delay"], content["hardware"]
    pace = f"with pauses of {content['pause_s']:g} s on average" if content["pause_s"] else "without a pause"
    return (
        f"{content['sockets']} sockets, {content['active']} of whose people talk {pace} ({hardware['processor']}, "
        f"{hardware['cores']} cores, clients on the same): {content['turns_per_s']:.0f} turns/s, {content['lost_frames']} lost frames, "
        f"{content['errors']} errors; first words after {first['p50']:.0f} ms (p50) and {first['p99']:.0f} ms (p99), the whole turn "
        f"{turn['p50']:.0f} ms and {turn['p99']:.0f} ms. The server's event loop was at most {1000 * delay['p99_s_at_most']:g} ms late in "
        f"99 % of {delay['samples']} samples, and within 20 ms in {delay['within_20_ms']:.1%}. Command: `{content['command']}`. "
        "Raw samples: [benchmarks/results/sockets.json](../benchmarks/results/sockets.json)."
    )


def _summary(values: list[float]) -> dict[str, Any]:
    return {"p50": percentile(values, 50), "p99": percentile(values, 99), "raw": [round(value, 2) for value in values]}


async def _talk(address: str, count: int, active: int, seconds: float, pause_s: float) -> tuple[list[_Person], dict[str, Any]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=True) as session, AsyncExitStack() as stack:
        opened = []
        for start in range(0, count, _OPENED_AT_ONCE):
            batch = [stack.enter_async_context(_socket(session, address)) for _ in range(start, min(count, start + _OPENED_AT_ONCE))]
            opened += await asyncio.gather(*batch)
        people = [_Person() for _ in range(active)]
        await _talk_for(opened[:active], [_Person() for _ in range(active)], 1.0, pause_s)
        before = await _delays(session, address)
        await _talk_for(opened[:active], people, seconds, pause_s)
        after = await _delays(session, address)
        if any(socket.closed for socket in opened):
            raise RuntimeError("the server has closed a socket")
    return people, _loop_delay({limit: count - before[limit] for limit, count in after.items()})


@asynccontextmanager
async def _socket(session: aiohttp.ClientSession, address: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with session.ws_connect(f"{address}/v1/chat/ws") as socket:
        await socket.send_json({"type": "hello"})
        ready = await socket.receive_json()
        if ready["type"] != "ready":
            raise RuntimeError(f"no session was begun: {ready}")
        yield socket


async def _talk_for(sockets: list[aiohttp.ClientWebSocketResponse], people: list[_Person], seconds: float, pause_s: float) -> None:
    until = time.perf_counter() + seconds
    pairs = zip(sockets, people, strict=True)
    await asyncio.gather(*(_converse(socket, person, until, pause_s, random.Random(n)) for n, (socket, person) in enumerate(pairs)))  # noqa: S311  # no secret


async def _converse(socket: aiohttp.ClientWebSocketResponse, person: _Person, until: float, pause_s: float, draw: random.Random) -> None:
    number = 0
    while True:
        if pause_s:
            await asyncio.sleep(draw.expovariate(1 / pause_s))
        if time.perf_counter() >= until:
            return
        started = time.perf_counter()
        await socket.send_json({"type": "message", "text": MESSAGES[number % len(MESSAGES)], "client_id": f"{started}"})
        number += 1
        is_first = True
        while True:
            frame = await socket.receive_json()
            if frame["type"] == "error":
                person.errors += 1
                break
            if person.last_seq:  # a warmed-up socket does not begin with 1
                person.lost_frames += frame["seq"] - person.last_seq - 1
            person.last_seq = frame["seq"]
            if frame["type"] == "delta" and is_first:
                is_first = False
                person.first_ms.append(1000 * (time.perf_counter() - started))
            if frame["type"] == "done":
                person.turn_ms.append(1000 * (time.perf_counter() - started))
                break


async def _delays(session: aiohttp.ClientSession, address: str) -> dict[float, float]:
    async with session.get(f"{address}/metrics") as response:
        found = _DELAYS.findall(await response.text())
    if not found:
        raise RuntimeError("the server has no metric of its event loop")
    return {float(limit): float(count) for limit, count in found}


def _loop_delay(within: dict[float, float]) -> dict[str, Any]:
    """Return what a histogram's counts say: the lowest limit that 99 % are within, and the share within 20 ms."""
    samples = within[float("inf")]
    p99 = min(limit for limit, count in within.items() if count >= 0.99 * samples)
    return {"samples": round(samples), "p99_s_at_most": p99, "within_20_ms": within[0.02] / samples}
