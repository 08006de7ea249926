"""Start the server: `empathetic-serve`, or `make serve` in a clone. Configured by EMPATHETIC_* variables alone."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError

from .app import create_app
from .errors import ArtifactError
from .settings import Settings


class Server(uvicorn.Server):
    """uvicorn, which also says when it is ready and turns readiness off as soon as it is asked to stop."""

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # uvicorn's list[socket]
        """Bind, then tell the user where to send the first request."""
        await super().startup(sockets=sockets)  # type: ignore[arg-type]  # as above
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(
                f"EmpatheticAI listens on {address} (API: {address}/docs). Try:\n"
                f'  curl -s {address}/v1/emotions -d \'{{"input": "Thank you, that made my day!"}}\'',
                flush=True,
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal once running requests have finished, at the second Ctrl-C at once."""
        self.config.app.state.draining = True  # type: ignore[union-attr]  # `main` passes the application itself
        super().handle_exit(sig, frame)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Exits with 2 when the settings or the model are wrong."""
    try:
        settings = Settings()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
        app = create_app(settings)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        sys.exit(_refuse(f"EMPATHETIC_{str(first['loc'][0]).upper()} = {first['input']!r}: {first['msg']}"))
    except ArtifactError as exc:
        sys.exit(_refuse(str(exc)))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level="warning",  # its greeting would stand beside ours
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    # uvicorn raises its signal again when it has drained: by then that is a clean end, not a death by signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run()


def _refuse(reason: str) -> int:
    print(f"empathetic-serve: error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
