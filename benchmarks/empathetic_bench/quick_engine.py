"""An OpenAI-compatible engine that says one sentence, token by token and all at once: what else a reply takes is the server's own."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_SAID = ("I", "'m", " sorry", " to", " hear", " that", ".")


@asynccontextmanager
async def quick_engine(listening: socket.socket) -> AsyncIterator[None]:
    """Answer on a socket that listens."""
    application = web.Application()
    application.router.add_get("/v1/models", _models)
    application.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "quick", "object": "model", "max_model_len": 8192}]})


async def _complete(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for text, reason in (*((token, None) for token in _SAID), ("", "stop")):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
        event = {"id": "quick", "object": "chat.completion.chunk", "created": 0, "model": "quick", "choices": [choice]}
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response
