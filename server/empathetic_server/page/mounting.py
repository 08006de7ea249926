"""The page inside the server, at `/ui/`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    """An ASGI application that is the page, between `open` and `aclose`.

    Args:
        app: the application whose service the page shows.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._page: ASGIApp | None = None
        self._exits = AsyncExitStack()

    async def open(self) -> None:
        """Import Gradio and build; takes seconds, in which nothing else runs."""
        # Gradio reads these when it is imported: it tells nobody that it runs, and asks nobody for a newer version.
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        # Not in a thread beside the first requests: it would hold the interpreter's lock while they wait,
        # and two threads that import the same modules can see them half made.
        with _without_stubs():
            from .page import within  # noqa: PLC0415  # a server without the page does not wait for it

        gradio_app = within(self._app, PATH)
        await self._exits.enter_async_context(gradio_app.router.lifespan_context(gradio_app))
        gradio_app.get_blocks().run_startup_events()  # type: ignore[no-untyped-call]  # as Gradio wrote it
        await gradio_app.get_blocks().run_extra_startup_events()  # type: ignore[no-untyped-call]  # as above
        self._page = gradio_app

    async def aclose(self) -> None:
        """Stop what Gradio runs."""
        self._page = None
        await self._exits.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the page's own requests."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or self._page is None or not _is_allowed(scope["method"], path):
            await Response(status_code=404)(scope, receive, send)
            return
        await self._page(scope, receive, send)


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Keep Gradio from writing its components' type stubs anew, into its own folder, whenever it is imported: a third of the start.

    It passes over a component whose file it cannot find. Not needed any more once `gradio.component_meta` writes none at import.
    """
    getfile = inspect.getfile

    def getfile_of_others(thing: object) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("a component's file")
        return getfile(thing)  # type: ignore[arg-type]  # whatever the caller gives

    inspect.getfile = getfile_of_others  # type: ignore[assignment]  # as above
    try:
        yield
    finally:
        inspect.getfile = getfile


def _is_allowed(method: str, path: str) -> bool:
    if method in ("GET", "HEAD"):
        return path in _GET or path.startswith(_GET_UNDER)
    return method == "POST" and path in _POST
