"""What the server's output guard lets through: a scripted model says each reply of a table, and the answer over HTTP is looked at."""

from __future__ import annotations

import asyncio
import json
import lzma
import re
import socket
from pathlib import Path
from typing import Any

import aiohttp

from .scripted_engine import scripted_engine
from .server_process import running_server

_CLIENTS = 8
_HUMAN_REPLIES = 2000
_ROW = re.compile(r"number (\d+)")
_WORDS = re.compile(r"\s*\S+")


def measure(server_python: str, settings: dict[str, str], phrases: Path, dialogues: Path | None) -> dict[str, Any]:
    """Return counts by kind and the rows that came out wrong, never texts; for each half, and for what people wrote.

    Args:
        server_python: interpreter that runs the server.
        settings: of the server.
        phrases: folder with replies-locked.tsv and replies-tuning.tsv: rows of kind and reply, a head line first; the kind `harmless`
            has to be let through.
        dialogues: supporters' replies that people wrote, to be let through, too; None leaves them out.

    Raises:
        OSError, RuntimeError: a file is missing, or the server does not start or answer.
    """
    tables = {half: _read(phrases / f"replies-{half}.tsv") for half in ("locked", "tuning")}
    if dialogues:
        tables["people"] = [("harmless", text) for text in _supporters(dialogues)]
    replies = [reply for rows in tables.values() for _, reply in rows]
    ends = iter(asyncio.run(_answers(server_python, settings, replies)))
    counts = {name: _count([kind for kind, _ in rows], [next(ends) for _ in rows]) for name, rows in tables.items()}
    if "people" in counts:
        counts["people"]["errors"] = []  # rows of a file that is not committed tell nothing
    return counts


def _read(path: Path) -> list[tuple[str, str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    return [(kind, reply) for kind, reply in rows]


def _count(kinds: list[str], ends: list[str]) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    errors = []
    for number, (kind, end) in enumerate(zip(kinds, ends, strict=True), start=2):  # the first line is the head
        is_right = (end == "fallback") == (kind != "harmless")
        count = counts.setdefault(kind, {"right": 0, "total": 0})
        count["right"] += is_right
        count["total"] += 1
        if not is_right:
            errors.append({"row": number, "kind": kind})
    return {"kinds": counts, "errors": errors}


def _supporters(path: Path) -> list[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        texts = [" ".join(json.loads(line)["text"].split()) for line in file]
    return [text for text in texts if text][:_HUMAN_REPLIES]


async def _answers(server_python: str, settings: dict[str, str], replies: list[str]) -> list[str]:
    """Return how the server ended each reply; `fallback` is a reply that was replaced or broken off."""
    gate = asyncio.Semaphore(_CLIENTS)

    async def ask(session: aiohttp.ClientSession, number: int) -> str:
        body = {"message": f"Please tell me about number {number}", "temporary": True}
        async with gate, session.post("/v1/chat", json=body) as response:
            answer: dict[str, str] = await response.json()
            # A cleaner in front of the guard may take out the whole reply: it is gone, too.
            return answer["finish_reason"]

    asked: set[int] = set()

    def say(messages: list[dict[str, Any]]) -> list[str]:
        number = int(_ROW.findall(messages[-1]["content"])[-1])
        asked.add(number)
        return _WORDS.findall(replies[number])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with scripted_engine(say, listening):
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            server = running_server(server_python, **{**settings, "EMPATHETIC_GENERATOR": "vllm", "EMPATHETIC_VLLM_URL": url})
            address = await asyncio.to_thread(server.__enter__)
            try:
                async with aiohttp.ClientSession(address, raise_for_status=True) as session:
                    ends = await asyncio.gather(*(ask(session, number) for number in range(len(replies))))
            finally:
                await asyncio.to_thread(server.__exit__, None, None, None)
    if missing := set(range(len(replies))) - asked:
        raise RuntimeError(f"the server did not take {len(missing)} of {len(replies)} replies from the scripted model")
    return ends
