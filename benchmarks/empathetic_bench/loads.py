"""When requests are sent, and what counts as their latency. Knows no target: `send` is a coroutine that raises `Refused`.

    closed      a client sends its next request when it has the answer to the last: capacity
    open        requests come as people do, at random and whether the last one is answered or not: latency
    burst       many requests at one moment, after silence
    mixed       an open loop of single texts, first alone, then while bulk clients keep the server busy
    impatient   a closed loop of clients of whom half hang up before the answer

The event loop's clock wakes a sender up to a millisecond late; where latency counts from the intended time, that is part of it.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace

from .samples import Round

Send = Callable[[list[str]], Awaitable[object]]
# Bulk clients have filled the server's queue by then.
_BULK_LEAD_SECONDS = 1.0
_PAUSE_BETWEEN_BURSTS = 0.2
_BULK_CLIENTS = 4
_HANG_UP_SHARE = 0.5


class Refused(Exception):
    """A request got no answer, or an error instead of one."""


class _Tally:
    """What has been answered so far."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.texts = self.errors = self.abandoned = 0
        self.latencies_ms: list[float] = []

    async def ask(self, send: Send, texts: list[str], since: float | None = None) -> None:
        """Send a request; its latency counts from `since`, or from now."""
        since = time.perf_counter() if since is None else since
        try:
            await send(texts)
        except Refused:
            self.errors += 1
        else:
            self.texts += len(texts)
            self.latencies_ms.append(1000 * (time.perf_counter() - since))

    def has_run(self, seconds: float) -> bool:
        return time.perf_counter() - self.started >= seconds

    def round(self) -> Round:
        return Round(self.texts, time.perf_counter() - self.started, self.latencies_ms, self.errors, self.abandoned)


async def closed(send: Send, requests: Iterable[list[str]], *, clients: int, seconds: float = math.inf) -> Round:
    """Send all requests, or as many as `seconds` allow, with `clients` of them on their way at a time."""
    waiting, tally = iter(requests), _Tally()

    async def client() -> None:
        while not tally.has_run(seconds) and (texts := next(waiting, None)):
            await tally.ask(send, texts)

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally.round()


async def open_loop(send: Send, requests: Iterator[list[str]], *, rate_per_s: float, seconds: float, seed: int = 0) -> Round:
    """Send requests at random moments (a Poisson process), and wait for the last answer.

    Latency counts from the moment at which a request should have been sent: a server or a client that stalls is charged for all that
    should have been asked meanwhile (no coordinated omission).
    """
    tally, asked = _Tally(), []
    for moment in _moments(rate_per_s, seconds, seed):
        intended = tally.started + moment
        await asyncio.sleep(max(0.0, intended - time.perf_counter()))
        asked.append(asyncio.create_task(tally.ask(send, next(requests), intended)))
    await asyncio.gather(*asked)
    return tally.round()


async def burst(send: Send, requests: Iterator[list[str]], *, size: int, seconds: float) -> Round:
    """Send `size` requests at once, and again after a pause until `seconds` are over; latency counts from the burst's moment.

    The round's seconds are those from each burst to its last answer.
    """
    tally, busy_s = _Tally(), 0.0
    while True:
        now = time.perf_counter()
        await asyncio.gather(*(tally.ask(send, next(requests), now) for _ in range(size)))
        busy_s += time.perf_counter() - now
        if tally.has_run(seconds):
            return replace(tally.round(), seconds=busy_s)
        await asyncio.sleep(_PAUSE_BETWEEN_BURSTS)


async def mixed(
    send: Send, singles: Iterator[list[str]], send_bulk: Send, bulk: Iterator[list[str]], *, rate_per_s: float, seconds: float
) -> dict[str, Round]:
    """Return the rounds `idle` and `under bulk` of the same open loop, and the round `bulk` of the clients that were there meanwhile."""
    idle = await open_loop(send, singles, rate_per_s=rate_per_s, seconds=seconds)
    filling = asyncio.create_task(closed(send_bulk, bulk, clients=_BULK_CLIENTS, seconds=_BULK_LEAD_SECONDS + seconds))
    await asyncio.sleep(_BULK_LEAD_SECONDS)
    loaded = await open_loop(send, singles, rate_per_s=rate_per_s, seconds=seconds)
    return {"idle": idle, "under bulk": loaded, "bulk": await filling}


async def impatient(send: Send, requests: Iterator[list[str]], *, clients: int, seconds: float, patience_s: float = 0.01) -> Round:
    """Run a closed loop in which half the requests are given up after `patience_s` on average.

    The latencies are those of requests that nobody meant to give up: of the others only the fast ones would have any.
    """
    tally, draw = _Tally(), random.Random(0)  # noqa: S311  # no secret

    async def client() -> None:
        while not tally.has_run(seconds):
            texts = next(requests)
            if draw.random() >= _HANG_UP_SHARE:
                await tally.ask(send, texts)
                continue
            try:
                await asyncio.wait_for(send(texts), draw.expovariate(1 / patience_s))
            except asyncio.TimeoutError:  # on Python 3.10 it is not yet the built-in TimeoutError
                tally.abandoned += 1
            except Refused:
                tally.errors += 1
            else:
                tally.texts += len(texts)

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally.round()


def _moments(rate_per_s: float, seconds: float, seed: int) -> Iterator[float]:
    draw, moment = random.Random(seed), 0.0  # noqa: S311  # no secret
    while (moment := moment + draw.expovariate(rate_per_s)) < seconds:
        yield moment
