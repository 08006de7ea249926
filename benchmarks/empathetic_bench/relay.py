"""Stands between the server and an OpenAI-compatible engine and notes what is asked, so that the engine can be asked the same alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web


@asynccontextmanager
async def recording_relay(engine: str) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the relay's base URL, which ends in /v1, and the bodies of the completions asked for, as they come.

    Args:
        engine: base URL of the engine, which ends in /v1.
    """
    bodies: list[dict[str, Any]] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path.endswith("/chat/completions"):
            bodies.append(await request.json())
        url = engine.removesuffix("/v1") + request.path_qs
        headers = {name: value for name, value in request.headers.items() if name in ("Authorization", "Content-Type", "X-Request-Id")}
        async with session.request(request.method, url, data=body, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "text/plain")})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", forward)
    runner = web.AppRunner(application)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", bodies
        finally:
            await runner.cleanup()
