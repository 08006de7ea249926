"""A closed loop over HTTP: each client sends its next request when it has the answer. Measures capacity, not arrival."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import aiohttp

from .samples import Round


async def closed_loop(address: str, texts: list[str], *, clients: int, texts_per_request: int, warmup: int) -> Round:
    """Send all texts once, in requests of `texts_per_request`, over `clients` kept-open connections.

    Args:
        address: the server's, without a path.
        texts: what is sent, in order.
        clients: requests in flight.
        texts_per_request: texts in one request.
        warmup: requests sent first and not counted.
    """
    bodies = [json.dumps({"input": texts[start : start + texts_per_request]}) for start in range(0, len(texts), texts_per_request)]
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients), timeout=timeout) as session:
        await _drain(session, address, iter(bodies[:warmup]), clients, [])
        latencies: list[float] = []
        started = time.perf_counter()
        errors = await _drain(session, address, iter(bodies), clients, latencies)
        seconds = time.perf_counter() - started
    return Round(len(texts) - errors * texts_per_request, seconds, latencies, errors)


async def _drain(session: aiohttp.ClientSession, address: str, bodies: Iterator[str], clients: int, latencies: list[float]) -> int:
    """Send bodies until none is left; returns the number that got no 200."""
    errors = 0

    async def client() -> None:
        nonlocal errors
        for body in bodies:
            before = time.perf_counter()
            async with session.post(f"{address}/v1/emotions", data=body) as response:
                await response.read()
            if response.status == 200:
                latencies.append(1000 * (time.perf_counter() - before))
            else:
                errors += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return errors
