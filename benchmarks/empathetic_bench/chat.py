"""`empathetic-bench chat`: first words, the pace of the others, and what the server adds to a generator's own time.

Each generator is talked with over each way in, in turn, behind a fresh server in every round. vLLM, or whatever OpenAI-compatible engine
is named, is also asked alone, for exactly what the server had asked it for: before everything, and right after every reply through the
server, so that both see the same state of the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import aiohttp

from . import environment, report
from .loads import Refused
from .relay import recording_relay
from .samples import percentile
from .server_process import server_process
from .sockets import MESSAGES
from .talking import Body, Turn, say
from .usage import Usage

T = TypeVar("T")

GENERATORS = ("written", "embedded", "vllm")
WAYS = {"ws": "/v1/chat/ws", "sse": "/v1/chat", "openai": "/v1/chat/completions"}
ENGINE = "engine alone"
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
_WARMUP_TURNS = 3
_OWN = re.compile(r'^empathetic_generator_seconds_(sum|count)\{generator="[^"]*",until="first piece"\} ([0-9.e+-]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ChatBench:
    """What is measured, and where the result goes.

    Attributes:
        model: the classifier's folder.
        server_python: interpreter that runs the server.
        responder: folder of the embedded generator's model.
        engine: base URL of an OpenAI-compatible engine, which ends in /v1, or None.
        generators: of `GENERATORS`; without any, the engine alone is measured.
        ways: of `WAYS`.
        turns: messages of a round.
        clients: conversations at a time.
        rounds: how often.
        output: result file.
    """

    model: Path
    server_python: str
    responder: Path
    engine: str | None
    generators: tuple[str, ...]
    ways: tuple[str, ...]
    turns: int
    clients: int
    rounds: int
    output: Path


@dataclass(frozen=True, slots=True)
class _Measured:
    """One round of one case.

    Attributes:
        turns: the replies to the messages; None where there was none.
        alone: the engine's own replies to them, one right after each, where it was asked alone.
        own_first_ms: the generator's mean time to its first piece, by the server's metrics.
        used: processor and memory of the server.
    """

    turns: list[Turn | None]
    alone: list[Turn | None]
    own_first_ms: float | None
    used: dict[str, float]


def run(config: ChatBench, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure and write the result file.

    Raises:
        Refused: the engine does not answer.
        OSError, RuntimeError: the server does not start, or a generator is not what it should be.
    """
    measured = asyncio.run(_measure(config, tell))
    content = {
        "benchmark": "chat",
        **environment.describe(("aiohttp",)),
        "turns": config.turns,
        "clients": config.clients,
        "rounds": config.rounds,
        "cases": [{"name": name, **_summary(rounds)} for name, rounds in measured.items()],
    }
    report.write(config.output, content)
    return content


async def _measure(config: ChatBench, tell: Callable[[str], None]) -> dict[str, list[_Measured]]:
    messages = list(itertools.islice(itertools.cycle(MESSAGES), config.turns))
    measured: dict[str, list[_Measured]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        bodies = await _bodies(config, session) if config.engine else {}
        for number in range(config.rounds):
            if config.engine:
                measured.setdefault(ENGINE, []).append(await _alone(config, session, messages, bodies))
            for generator in config.generators:
                async with _server(config, generator) as (address, pid):
                    for way in config.ways:
                        asked = bodies if generator == "vllm" else {}
                        one = await _served(config, session, address, pid, generator=generator, way=way, messages=messages, bodies=asked)
                        measured.setdefault(f"{generator}, {way}", []).append(one)
                        ends = Counter(turn.finish_reason if turn else "no reply" for turn in one.turns)
                        tell(f"round {number + 1}/{config.rounds}  {generator}, {way}  {dict(ends)}")
    return measured


async def _bodies(config: ChatBench, session: aiohttp.ClientSession) -> dict[str, Body]:
    """Return what the engine is to be asked alone for each message: what the server asks it for, or else the message alone."""
    if "vllm" not in config.generators:
        async with session.get(f"{config.engine}/models") as answer:
            model = (await answer.json())["data"][0]["id"]
        return {text: {"model": model, "messages": [{"role": "user", "content": text}], "stream": True} for text in MESSAGES}
    bodies = {}
    async with recording_relay(config.engine or "") as (relay, seen), _server(config, "vllm", engine=relay) as (address, _):
        for text in MESSAGES:
            seen.clear()
            await say(session, address + WAYS["sse"], text)
            if not seen:
                raise RuntimeError("the server has not asked the engine")
            bodies[text] = seen[0]
    return bodies


async def _alone(config: ChatBench, session: aiohttp.ClientSession, messages: Sequence[str], bodies: dict[str, Body]) -> _Measured:
    async def ask(text: str) -> Turn:
        return await _ask_engine(config, session, text, bodies)

    await _talk(ask, messages[:_WARMUP_TURNS], 1)
    turns = await _talk(ask, messages, config.clients)
    return _Measured(turns, [None] * len(turns), None, {})


async def _ask_engine(config: ChatBench, session: aiohttp.ClientSession, text: str, bodies: dict[str, Body]) -> Turn:
    return await say(session, f"{config.engine}/chat/completions", text, body=bodies[text])


async def _served(
    config: ChatBench,
    session: aiohttp.ClientSession,
    address: str,
    pid: int,
    *,
    generator: str,
    way: str,
    messages: Sequence[str],
    bodies: dict[str, Body],
) -> _Measured:
    url = (address.replace("http", "ws", 1) if way == "ws" else address) + WAYS[way]

    async def ask(text: str) -> tuple[Turn, Turn | None]:
        return await say(session, url, text), await _ask_engine(config, session, text, bodies) if bodies else None

    await _talk(ask, messages[:_WARMUP_TURNS], 1)
    before = await _own(session, address)
    usage = Usage([pid], [])
    both = await _talk(ask, messages, config.clients)
    turns, alone = [pair and pair[0] for pair in both], [pair and pair[1] for pair in both]
    if generator != "written":  # else a generator that fails would be measured as the fast one that steps in
        turns = [turn if turn and turn.finish_reason not in ("fallback", "error") else None for turn in turns]
    used = usage.report()
    after = await _own(session, address)
    replies = after["count"] - before["count"]
    return _Measured(turns, alone, 1000 * (after["sum"] - before["sum"]) / replies if replies else None, used)


async def _talk(ask: Callable[[str], Awaitable[T]], messages: Sequence[str], clients: int) -> list[T | None]:
    """Say all messages, with `clients` conversations at a time; None for a message that got no reply."""
    turns: list[T | None] = [None] * len(messages)
    waiting = iter(enumerate(messages))

    async def client() -> None:
        for number, text in waiting:
            try:
                turns[number] = await ask(text)
            except Refused:
                turns[number] = None

    await asyncio.gather(*(client() for _ in range(clients)))
    return turns


@asynccontextmanager
async def _server(config: ChatBench, generator: str, engine: str | None = None) -> AsyncIterator[tuple[str, int]]:
    """Start a server with a generator; in a thread, because a relay in this loop may have to answer it meanwhile."""
    settings = {"EMPATHETIC_PAGE": "false", "EMPATHETIC_LOG_LEVEL": "warning", "EMPATHETIC_GENERATOR": generator}
    settings |= {"EMPATHETIC_MODEL_REPOSITORY": str(config.model.parent), "EMPATHETIC_RESPONDER": str(config.responder)}
    if generator == "vllm":
        settings["EMPATHETIC_VLLM_URL"] = engine or config.engine or ""
    server = server_process(config.server_python, **settings)
    started = await asyncio.to_thread(server.__enter__)
    try:
        yield started
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def _own(session: aiohttp.ClientSession, address: str) -> dict[str, float]:
    """Return sum (seconds) and count of the generators' times to their first pieces."""
    async with session.get(f"{address}/metrics") as answer:
        totals = {"sum": 0.0, "count": 0.0}
        for name, value in _OWN.findall(await answer.text()):
            totals[name] += float(value)
    return totals


def _summary(rounds: list[_Measured]) -> dict[str, Any]:
    turns = [turn for one in rounds for turn in one.turns if turn]
    return {
        "first_ms": _percentiles([turn.first_ms for turn in turns if turn.first_ms is not None]),
        "gap_ms": _percentiles([gap for turn in turns for gap in turn.gaps_ms]),
        "end_ms": _percentiles([turn.end_ms for turn in turns]),
        "classify_ms": _percentiles([turn.classify_ms for turn in turns if turn.classify_ms is not None]),
        "ends": dict(Counter(turn.finish_reason for turn in turns)),
        "errors": sum(turn is None for one in rounds for turn in one.turns),
        "overhead_ms": [_overhead(one) for one in rounds],
        "held_ms": [_held(one) for one in rounds],
        "used": [one.used for one in rounds],
    }


def _overhead(one: _Measured) -> float | None:
    """Return what came before the first piece beyond the generator's own time in a round.

    Beside the engine alone, it is the median of the differences message by message; otherwise the mean beyond the server's own metric.
    """
    if any(one.alone):
        pairs = [(turn.first_ms, other.first_ms) for turn, other in _pairs(one)]
        beyond = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
        return median(beyond) if beyond else None
    first = [turn.first_ms for turn in one.turns if turn and turn.first_ms is not None]
    return None if one.own_first_ms is None or not first else fmean(first) - one.own_first_ms


def _held(one: _Measured) -> float | None:
    """Return how long after its first token the engine says the one that lets our first piece go, as a median over the messages."""
    waited = [waited_for(turn.pieces[0].strip(), other) for turn, other in _pairs(one) if turn.pieces and other.pieces]
    known = [ms for ms in waited if ms is not None]
    return median(known) if known else None


def _pairs(one: _Measured) -> list[tuple[Turn, Turn]]:
    """Return the replies through the server with the engine's own, where there are both."""
    return [(turn, other) for turn, other in zip(one.turns, one.alone, strict=True) if turn and other]


def waited_for(shown: str, alone: Turn) -> float | None:
    """Return how long after its first piece an engine began what follows these words, in milliseconds; None when it said others."""
    said = ""
    for text, at in zip(alone.pieces, alone.piece_ms, strict=True):
        said = (said + text).lstrip()
        if len(said) > len(shown) and said.startswith(shown):
            return at - alone.piece_ms[0]
    return alone.piece_ms[-1] - alone.piece_ms[0] if said.startswith(shown) else None


def _percentiles(values: list[float]) -> dict[str, Any]:
    shown = {name: percentile(values, share) if values else None for name, share in _PERCENTILES.items()}
    return {**shown, "raw": [round(value, 3) for value in values]}
