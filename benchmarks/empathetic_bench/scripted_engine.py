"""An OpenAI-compatible engine that says what it is told to, as fast as it can: what else a reply takes is the server's own."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

# From the messages of a request to the pieces of the reply.
Script = Callable[[list[dict[str, Any]]], Iterable[str]]


@asynccontextmanager
async def scripted_engine(script: Script, listening: socket.socket) -> AsyncIterator[None]:
    """Answer on a socket that listens, under the model name `script`."""

    async def complete(request: web.Request) -> web.StreamResponse:
        pieces = script((await request.json())["messages"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text, reason in (*((piece, None) for piece in pieces), ("", "stop")):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
            event = {"id": "script", "object": "chat.completion.chunk", "created": 0, "model": "script", "choices": [choice]}
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    application = web.Application()
    application.router.add_get("/v1/models", _models)
    application.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "script", "object": "model", "max_model_len": 8192}]})
