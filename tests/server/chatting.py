"""What the chat's tests share: a server on a real socket, a generator that waits for the test, and a WebSocket client."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from empathetic_server import Settings, create_app
from empathetic_server.__main__ import Server, configure
from empathetic_server.engines.protocols import ChatMessage, Chunk, GenerationRequest, Likelihood, PromptStyle
from empathetic_server.errors import BackendUnavailable
from empathetic_server.live import LiveSessions
from websockets.asyncio.client import ClientConnection, connect

from tests.server.conftest import FakeClassifier

REPLY = ["That ", "sounds like ", "a long day. ", "What was ", "the hardest part?"]
SPOKEN = "".join(REPLY)


@dataclass
class FakeGenerator:
    """Writes given pieces; before piece n it waits for `gates[n]`. Keeps what it was asked and whether it was closed early.

    With `drafts` it writes these in turn, one a request, word by word. It finds replies as probable as `likely` says, by what the last
    message of the prompt and the reply are, or cannot tell.
    """

    pieces: Sequence[str] = tuple(REPLY)
    drafts: Sequence[str] = ()
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    context_tokens: int = 4096
    name: str = "fake"
    prompt_style: PromptStyle = "instructions"
    likely: Callable[[str, str], float] | None = None
    asked: list[GenerationRequest] = field(default_factory=list)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = True

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        if not self.is_ready:
            raise BackendUnavailable("closed")
        self.asked.append(request)
        pieces = re.findall(r"\s*\S+", self.drafts[(len(self.asked) - 1) % len(self.drafts)]) if self.drafts else self.pieces
        ended = False
        try:
            for index, piece in enumerate([*pieces, ""]):
                if index in self.failures:
                    ended = True
                    raise self.failures[index]
                if index in self.gates:
                    self.waiting.set()
                    await self.gates[index].wait()
                yield Chunk(piece, "stop" if index == len(pieces) else None)
            ended = True
        finally:
            if not ended:
                self.aborted.set()

    async def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        if self.likely is None:
            return None
        return tuple(Likelihood(self.likely(messages[-1].text, reply), len(reply.split())) for reply in replies)

    async def ready(self) -> bool:
        return self.is_ready

    async def aclose(self) -> None:
        self.is_ready = False


@dataclass
class Running:
    """A server under test."""

    address: str
    http: httpx2.AsyncClient
    live: LiveSessions
    server: Server

    def socket(self, **kwargs: Any) -> connect:
        return connect(f"ws{self.address[4:]}/v1/chat/ws", **kwargs)


@asynccontextmanager
async def running(*, page: bool = False, **kwargs: Any) -> AsyncIterator[Running]:
    """The application behind uvicorn as the product configures it, in this event loop; stopped at the end."""
    kwargs.setdefault("classifier", FakeClassifier())
    kwargs.setdefault("generators", ())
    settings = kwargs.pop("settings", Settings(port=0, page=page, sessions="memory://", drain_seconds=5))
    app = create_app(settings, **kwargs)
    server = Server(configure(app, settings))
    with contextlib.redirect_stdout(io.StringIO()):
        task = asyncio.create_task(server.serve())
        while not server.started:
            assert not task.done(), task
            await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    address = f"http://{host}:{port}"
    try:
        async with httpx2.AsyncClient(base_url=address, timeout=30) as http:
            yield Running(address, http, app.state.live, server)
    finally:
        server.should_exit = True
        await task


async def send(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def receive(socket: ClientConnection) -> dict[str, Any]:
    frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
    assert isinstance(frame, dict)
    return frame


async def until_type(socket: ClientConnection, *types: str) -> list[dict[str, Any]]:
    """Return the frames up to the first of a type."""
    frames = [await receive(socket)]
    while frames[-1]["type"] not in types:
        frames.append(await receive(socket))
    return frames


async def hello(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    await send(socket, type="hello", **fields)
    return await receive(socket)


def said(frames: Sequence[dict[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


def events(body: str) -> list[dict[str, Any]]:
    """Return the data of Server-Sent Events, after checking that each event's name is its type."""
    found = []
    for block in body.split("\n\n"):
        if block:
            name, data = block.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
    return found
