"""The comments through the product's own server, which runs somewhere with the same checkpoint exported. Starts nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from empathetic_bench import loads
from empathetic_bench.samples import Round, summarize

from .measuring import Probabilities

_PARITY_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Load:
    """Clients, each of which sends its next request when it has the answer."""

    address: str
    clients: int
    texts_per_request: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What the server must answer.

    Attributes:
        labels: of the columns.
        probabilities: of the checkpoint in fp32 (texts, labels).
        is_whole: which texts the checkpoint has seen uncut; of the others the server may read more.
        tolerance: largest difference allowed.
    """

    labels: list[str]
    probabilities: Probabilities
    is_whole: list[bool]
    tolerance: float


def measure(load: Load, texts: list[str], expected: Expected) -> dict[str, Any]:
    """Check the server's probabilities, and send it all texts in each round.

    Raises:
        ArithmeticError: the server answers something else: it serves another model, or has an error.
        OSError, RuntimeError: it does not answer.
    """
    return asyncio.run(_measure(load, texts, expected))


async def _measure(load: Load, texts: list[str], expected: Expected) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        async with session.get(f"{load.address}/readyz") as response:
            readiness = await response.json()
        rows = [row for row, whole in enumerate(expected.is_whole) if whole][:_PARITY_TEXTS]
        difference = 0.0
        for start in range(0, len(rows), load.texts_per_request):
            part = rows[start : start + load.texts_per_request]
            found = await _scores(session, load.address, [texts[row] for row in part], expected.labels)
            difference = float(np.maximum(difference, np.abs(found - expected.probabilities[part]).max()))
        if not difference <= expected.tolerance:
            raise ArithmeticError(f"the server's probabilities differ by {difference:.1e}, more than {expected.tolerance}")
        await _send_all(session, load, texts[: load.clients * load.texts_per_request])  # warm-up
        rounds = [await _send_all(session, load, texts) for _ in range(load.rounds)]
    return {
        "readiness": readiness,
        "clients": load.clients,
        "texts_per_request": load.texts_per_request,
        "largest_difference": difference,
        "summary": summarize(rounds),
        "rounds": [one.as_dict() for one in rounds],
    }


async def _scores(session: aiohttp.ClientSession, address: str, texts: list[str], labels: list[str]) -> Probabilities:
    async with session.post(f"{address}/v1/emotions", json={"input": texts, "scores": True}) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status} from the server: {await response.text()}")
        entries = (await response.json())["data"]
    return np.array([[entry["scores"].get(label, np.nan) for label in labels] for entry in entries], np.float32)


async def _send_all(session: aiohttp.ClientSession, load: Load, texts: list[str]) -> Round:
    async def send(part: list[str]) -> None:
        async with session.post(f"{load.address}/v1/emotions", json={"input": part}) as response:
            await response.read()
        if response.status != 200:
            raise loads.Refused(f"{response.status} from the server")

    requests = [texts[start : start + load.texts_per_request] for start in range(0, len(texts), load.texts_per_request)]
    return await loads.closed(send, requests, clients=load.clients)
