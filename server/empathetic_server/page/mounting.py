"""The page inside the server, at `/ui/`. Gradio takes seconds to import: the server is ready before, and only the page waits for it."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio.routes import App

logger = logging.getLogger(__name__)

PATH = "/ui"
ICON = Path(__file__).parent / "icon.svg"
# What the page itself asks for. The rest of Gradio's routes (uploads, files, other hosts' files, its API) nobody needs here.
_GET = (
    "/",
    "/config",
    "/theme.css",
    "/favicon.ico",
    "/robots.txt",
    "/gradio_api/startup-events",
    "/gradio_api/queue/data",
    "/gradio_api/app_id",
)
_GET_UNDER = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
_POST = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")


class MountedPage:
    """An ASGI application that is the page as soon as that is built.

    Args:
        app: the application whose service the page shows.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._building: asyncio.Task[ASGIApp] | None = None
        self._exits = AsyncExitStack()

    def open(self) -> None:
        """Begin to build; returns at once."""
        self._building = asyncio.create_task(self._build())

    async def aclose(self) -> None:
        """Stop what Gradio runs."""
        if self._building is not None:
            await asyncio.wait((self._building,))
        await self._exits.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the page's own requests, once it is built."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or self._building is None or not _is_allowed(scope["method"], path):
            await Response(status_code=404)(scope, receive, send)
            return
        if self._building.done() and self._building.exception() is not None:
            self.open()
        page = await asyncio.shield(self._building)
        await page(scope, receive, send)

    async def _build(self) -> ASGIApp:
        # With a loop of its own in that thread: where none runs, Gradio makes some and does not close them.
        gradio_app = await asyncio.to_thread(lambda: asyncio.run(self._import_and_build()))
        await self._exits.enter_async_context(gradio_app.router.lifespan_context(gradio_app))
        gradio_app.get_blocks().run_startup_events()  # type: ignore[no-untyped-call]  # as Gradio wrote it
        await gradio_app.get_blocks().run_extra_startup_events()  # type: ignore[no-untyped-call]  # as above
        return gradio_app

    async def _import_and_build(self) -> App:
        # Gradio reads these when it is imported: it tells nobody that it runs, and asks nobody for a newer version.
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        from .page import within  # noqa: PLC0415  # this import takes the seconds

        return within(self._app, PATH)


def _is_allowed(method: str, path: str) -> bool:
    if method in ("GET", "HEAD"):
        return path in _GET or path.startswith(_GET_UNDER)
    return method == "POST" and path in _POST
