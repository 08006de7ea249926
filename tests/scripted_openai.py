"""A real HTTP server in OpenAI's shapes that does what a test tells it: answer, wait, stall, die, or send garbage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request and the connection that it came on."""

    body: dict[str, Any]
    writer: asyncio.StreamWriter
    aborted: asyncio.Event
    request_head: str = ""

    async def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {kind}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join(lines) + "\r\n\r\n")

    async def write(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def event(self, data: Any) -> None:
        await self.write(f"data: {json.dumps(data)}\n\n")

    async def choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        await self.event({"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": [choice]})

    async def pieces(self, *texts: str) -> None:
        for text in texts:
            await self.choice({"content": text})

    async def end(self, finish_reason: str = "stop") -> None:
        await self.choice({}, finish_reason)
        await self.write("data: [DONE]\n\n")


@dataclass
class ScriptedOpenAI:
    """The server; `scripts` are used up one a request, the last one again and again.

    With `log_probability`, of every token of the reply that a conversation ends in, it counts and weighs as vLLM does; these requests use
    up no script, and are in `weighed` instead of `asked`.
    """

    scripts: Sequence[Script]
    log_probability: Callable[[list[dict[str, Any]]], float] | None = None
    weighed: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=lambda: {"id": "scripted", "object": "model", "created": 0, "owned_by": "x"})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError as exc:
            if exc.partial:
                raise
            return  # a client that gave up before it asked
        method, path, _ = head.split(" ", 2)
        length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
        body = json.loads(await reader.readexactly(length)) if length else {}
        exchange = Exchange(body, writer, asyncio.Event(), head)
        if method == "GET" and path.endswith("/models"):
            await exchange.head(kind="application/json")
            await exchange.write(json.dumps({"object": "list", "data": [self.model]}))
            return
        if self.log_probability is not None and (path.endswith("/tokenize") or "prompt_logprobs" in body):
            await self._weigh(exchange, path)
            return
        self.asked.append(body)
        self.exchanges.append(exchange)
        script = asyncio.ensure_future(self.scripts[min(len(self.asked), len(self.scripts)) - 1](exchange))
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait((script, gone), return_when=asyncio.FIRST_COMPLETED)
            if not script.done() or isinstance(script.exception(), ConnectionError):
                exchange.aborted.set()
            else:
                script.result()
        finally:
            script.cancel()
            gone.cancel()
            await asyncio.gather(script, gone, return_exceptions=True)

    async def _weigh(self, exchange: Exchange, path: str) -> None:
        assert self.log_probability is not None
        spoken = exchange.body["messages"]
        words = [word for message in spoken for word in message["content"].split()]
        content: dict[str, Any]
        if path.endswith("/tokenize"):
            content = {"count": len(words) + 1, "max_model_len": 4096, "tokens": []}  # it ends in what begins a reply
        else:
            self.weighed.append(exchange.body)
            told = [{"7": {"logprob": self.log_probability(spoken), "rank": 1}}] * (len(words) + 1)  # as many, and the end
            content = {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted", "choices": []}
            content["prompt_logprobs"] = [None, *told]
        await exchange.head(kind="application/json")
        await exchange.write(json.dumps(content))


@asynccontextmanager
async def scripted_openai(*scripts: Script) -> AsyncIterator[ScriptedOpenAI]:
    scripted = ScriptedOpenAI(scripts or (answers("Hello", " there."),))
    connections: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(scripted.serve(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scripted.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield scripted
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        outcomes = await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def answers(*pieces: str, finish_reason: str = "stop") -> Script:
    """Stream these pieces, after a chunk that has a role alone."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.choice({"role": "assistant", "content": ""})
        await exchange.pieces(*pieces)
        await exchange.end(finish_reason)

    return script


def stalls(*pieces: str) -> Script:
    """Stream these pieces, then say nothing more."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.pieces(*pieces)
        await asyncio.Event().wait()

    return script


def dies(*pieces: str) -> Script:
    """Stream these pieces, then close the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.pieces(*pieces)

    return script


def refuses(status: int, body: str = "{}", **headers: str) -> Script:
    """Answer with a status."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, "application/json", **headers)
        await exchange.write(body)

    return script


def sends(text: str, kind: str = "text/event-stream") -> Script:
    """Send this, whatever it is, with status 200."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(kind=kind)
        await exchange.write(text)

    return script


def waits(gate: asyncio.Event, *pieces: str) -> Script:
    """Answer when the gate opens."""

    async def script(exchange: Exchange) -> None:
        await gate.wait()
        await answers(*pieces)(exchange)

    return script


def never_ends(piece: str) -> Script:
    """Stream this piece again and again."""

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.pieces(piece)
            await asyncio.sleep(0)

    return script
