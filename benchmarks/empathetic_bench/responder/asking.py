"""Asks a server for emotions and for replies, over HTTP. Knows no figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

_TEXTS_A_REQUEST = 64
_METRIC = re.compile(r"^(empathetic_\w+)(?:\{(.*)\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the server's classifier finds in a text."""

    primary: str
    valence: float


@dataclass(frozen=True, slots=True)
class Said:
    """A reply as the person got it; times are the server's, in milliseconds from the message."""

    reply: str
    finish_reason: str
    classify_ms: float | None
    first_token_ms: float | None
    total_ms: float


async def read_emotions(address: str, texts: Sequence[str]) -> list[Reading]:
    """Return what the classifier finds in each text."""
    readings = []
    async with aiohttp.ClientSession(address, raise_for_status=True) as session:
        for start in range(0, len(texts), _TEXTS_A_REQUEST):
            body = {"input": list(texts[start : start + _TEXTS_A_REQUEST])}
            async with session.post("/v1/emotions", json=body) as response:
                found = (await response.json())["data"]
            readings += [Reading(entry["primary"], entry["valence"]) for entry in found]
    return readings


async def ask(address: str, messages: Sequence[str]) -> list[Said]:
    """Return the reply to each message, each the first of its conversation, one after the other: times are those of one client."""
    said = []
    async with aiohttp.ClientSession(address, raise_for_status=True) as session:
        for message in messages:
            async with session.post("/v1/chat", json={"message": message, "temporary": True}) as response:
                answer = await response.json()
            timings = answer["timings"]
            times = (timings["classify_ms"], timings["first_token_ms"], timings["total_ms"])
            said.append(Said(answer["reply"], answer["finish_reason"], *times))
    return said


async def read_metrics(address: str) -> dict[str, float]:
    """Return every metric of the server by its name and labels: `name{labels}`."""
    async with aiohttp.ClientSession(address, raise_for_status=True) as session, session.get("/metrics") as response:
        text = await response.text()
    return {f"{name}{{{labels}}}": float(value) for name, labels, value in _METRIC.findall(text)}
