"""Start the server: `empathetic-serve`, or `make serve` in a clone. Configured by EMPATHETIC_* variables alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from .app import create_app, try_services
from .errors import StartupError
from .http_protocol import DeadlineProtocol
from .logs import configure_logging
from .routes.chat_schemas import MAX_FRAME_BYTES
from .settings import Settings


class Server(uvicorn.Server):
    """uvicorn, which also says when it is ready and turns readiness off as soon as it is asked to stop.

    Args:
        config: how to serve.
        check: awaited before anything else; what it raises ends the start.
        delay_s: how long to go on as before when it is asked to stop, but for readiness.
    """

    def __init__(self, config: uvicorn.Config, check: Callable[[], Awaitable[None]] | None = None, *, delay_s: float = 0) -> None:
        super().__init__(config)
        self._check = check
        self._delay_s = delay_s

    async def serve(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # uvicorn's list[socket]
        """Check, in the event loop that will serve (gRPC's clients do not outlive theirs without noise), then serve."""
        if self._check is not None:
            await self._check()
        await super().serve(sockets=sockets)  # type: ignore[arg-type]  # as above

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # as above
        """Bind, then tell the user where to send the first request."""
        await super().startup(sockets=sockets)  # type: ignore[arg-type]  # as above
        if self.started:
            # What is there now stays: the collector need not look at it again and again while requests wait.
            gc.freeze()
            gc.enable()
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            page = "" if self.config.app.state.page is None else f"page: {address}/ui/, "  # type: ignore[union-attr]  # as below
            print(
                f"EmpatheticAI listens on {address} ({page}API: {address}/docs). Try:\n"
                f'  curl -s {address}/v1/emotions -d \'{{"input": "Thank you, that made my day!"}}\'\n'
                f"  empathetic-chat --url ws{address[4:]}/v1/chat/ws    (in a clone: make chat)",
                flush=True,
            )

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # as above
        """Let load balancers turn away and running replies finish before connections are closed: nothing accepted is lost."""
        deadline = time.monotonic() + self._delay_s
        while time.monotonic() < deadline and not self.force_exit:  # noqa: ASYNC110  # a signal's handler sets no event of the loop
            await asyncio.sleep(0.1)
        await self.config.app.state.live.drain(self.config.timeout_graceful_shutdown)  # type: ignore[union-attr]  # as below
        await super().shutdown(sockets=sockets)  # type: ignore[arg-type]  # as above

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal once running requests have finished, at the second Ctrl-C at once."""
        self.config.app.state.live.is_leaving = True  # type: ignore[union-attr]  # `main` passes the application itself
        super().handle_exit(sig, frame)


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=DeadlineProtocol,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies or "",
        log_config=None,
        log_level="warning",  # its greeting would stand beside ours
        access_log=False,
        server_header=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # frames of a few words: compression would cost more than it saves
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Exits with 2 when the settings or the model are wrong."""
    gc.disable()  # until the server is ready: what is imported and built stays, and looking at it takes a sixth of the start
    try:
        settings = Settings()
        configure_logging(settings.log_level, settings.log_format)
        check = partial(try_services, settings)
        server = Server(configure(create_app(settings), settings), check, delay_s=settings.drain_delay_seconds)
        # uvicorn raises its signal again when it has drained: by then that is a clean end, not a death by signal.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        sys.exit(_refuse(f"EMPATHETIC_{str(first['loc'][0]).upper()} = {first['input']!r}: {first['msg']}"))
    except StartupError as exc:
        sys.exit(_refuse(str(exc)))


def _refuse(reason: str) -> int:
    print(f"empathetic-serve: error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
