"""Chats at an address: one message in, the times of the reply's pieces out. What is behind a URL is told by its path.

    ws://HOST:PORT/v1/chat/ws                  this project's server, over WebSocket
    http://HOST:PORT/v1/chat                   the same, as Server-Sent Events
    http://HOST:PORT/v1/chat/completions       any OpenAI-compatible server, this one and vLLM among them

Every message begins a conversation of its own, so that all ways are asked for the same reply.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from .loads import Refused

_TIMEOUT = aiohttp.ClientTimeout(total=120)
Body = dict[str, Any]


@dataclass(slots=True)
class Turn:
    """A reply's pieces, and times in milliseconds since the message was sent; `classify_ms` is the server's own word."""

    pieces: list[str] = field(default_factory=list)
    piece_ms: list[float] = field(default_factory=list)
    end_ms: float = 0.0
    finish_reason: str | None = None
    classify_ms: float | None = None

    @property
    def first_ms(self) -> float | None:
        """Time to the first piece."""
        return self.piece_ms[0] if self.piece_ms else None

    def add(self, text: str, now_ms: float) -> None:
        """Take a piece."""
        self.pieces.append(text)
        self.piece_ms.append(now_ms)

    @property
    def gaps_ms(self) -> list[float]:
        """Times between pieces."""
        return [after - before for before, after in zip(self.piece_ms, self.piece_ms[1:], strict=False)]


async def say(session: aiohttp.ClientSession, url: str, message: str, *, body: Body | None = None) -> Turn:
    """Say something and listen to the whole reply.

    Args:
        session: of the client.
        url: see above.
        message: what is said.
        body: what is sent to an OpenAI-compatible server instead of the message alone.

    Raises:
        Refused: there is no reply.
        ValueError: the URL is none of those above.
    """
    path = urlsplit(url).path
    try:
        if path == "/v1/chat/ws":
            return await _over_websocket(session, url, message)
        if path == "/v1/chat":
            return await _over_http(session, url, {"message": message, "temporary": True, "stream": True})
        if path.endswith("/chat/completions"):
            return await _over_http(session, url, body or {"messages": [{"role": "user", "content": message}], "stream": True})
    except (aiohttp.ClientError, asyncio.TimeoutError) as exc:
        raise Refused(f"{url}: {exc!r}") from exc
    raise ValueError(f"{url} names no known kind of chat")


async def _over_websocket(session: aiohttp.ClientSession, url: str, message: str) -> Turn:
    async with session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_receive=_TIMEOUT.total)) as socket:
        await socket.send_json({"type": "hello", "temporary": True})
        await _next_frame(socket)  # `ready`
        turn, started = Turn(), time.perf_counter()
        await socket.send_json({"type": "message", "text": message, "client_id": "c"})
        while not turn.finish_reason:
            _take_frame(turn, await _next_frame(socket), 1000 * (time.perf_counter() - started))
        return turn


async def _next_frame(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Refused(f"the socket was closed: {socket.close_code}")
    frame: dict[str, Any] = json.loads(message.data)
    if "error" in frame:
        raise Refused(f"{frame['error']}")
    return frame


async def _over_http(session: aiohttp.ClientSession, url: str, body: Body) -> Turn:
    turn, started = Turn(), time.perf_counter()
    async with session.post(url, json=body, timeout=_TIMEOUT) as response:
        if response.status != 200:
            raise Refused(f"{url}: {response.status}")
        async for event in _events(response):
            if "error" in event:
                raise Refused(f"{url}: {event['error']}")
            take = _take_chunk if "choices" in event else _take_frame
            take(turn, event, 1000 * (time.perf_counter() - started))
    if not turn.finish_reason:
        raise Refused(f"{url}: the reply has no end")
    return turn


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in response.content:
        kind, _, value = line.decode().strip().partition(":")
        if kind == "data" and (value := value.strip()) != "[DONE]":
            yield json.loads(value)


def _take_frame(turn: Turn, frame: dict[str, Any], now_ms: float) -> None:
    match frame["type"]:
        case "delta":
            turn.add(frame["text"], now_ms)
        case "done":
            turn.end_ms, turn.finish_reason = now_ms, frame["finish_reason"]
            turn.classify_ms = frame["timings"]["classify_ms"]


def _take_chunk(turn: Turn, chunk: dict[str, Any], now_ms: float) -> None:
    for choice in chunk["choices"]:
        if text := choice["delta"].get("content"):
            turn.add(text, now_ms)
        if choice.get("finish_reason"):
            ours = chunk.get("empathetic", {})  # this project's server says more than OpenAI's two reasons
            turn.end_ms, turn.finish_reason = now_ms, ours.get("finish_reason", choice["finish_reason"])
            turn.classify_ms = ours.get("timings", {}).get("classify_ms")
