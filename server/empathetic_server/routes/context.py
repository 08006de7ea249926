"""The ASGI layer around every request: request id, body limit, one body for every error, HTTP metrics.

Knows no route. Plain ASGI, because Starlette's `BaseHTTPMiddleware` adds a task and a queue to every request.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import logs
from ..errors import EmpatheticError, InternalError, MalformedRequest, MethodNotAllowed, NotFound, TooLarge
from ..metrics import Metrics
from ..time_limits import timeout

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BODY_BYTES = 2 * 1024 * 1024
# A body of the greatest size on a slow line; who needs longer keeps a connection busy on purpose.
BODY_SECONDS = 20.0
# A reader that takes nothing for so long is not reading.
SEND_SECONDS = 20.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = {"/livez", "/readyz", "/metrics"}


class SlowReader(Exception):
    """A client does not take what it has asked for."""


class RequestContext:
    """Middleware: gives each request its id, counts it, and turns what escapes from a route into the contract's error.

    Args:
        app: what handles the request.
        metrics: where it is counted.
        is_leaving: whether the server is about to stop; then clients are told to use another connection for their next request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, is_leaving: Callable[[], bool]) -> None:
        self._app = app
        self._metrics = metrics
        self._is_leaving = is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = new_request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        serving = logs.request_id.set(request_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                if self._is_leaving():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # nobody is left to be told; the status below says it
        except SlowReader:
            logger.info("the client reads too slowly; its answer was cut off")
            raise  # the answer has begun: only closing the connection can tell the client
        except Exception:  # a defect of ours: it is logged, who asked is told, and the server goes on
            logger.exception("a request failed")
            if status:
                raise  # the answer has begun: only closing the connection can tell the client
            await error_response(InternalError("an internal error; the log has it under this request id"), request_id)(
                scope, receive, send_with_id
            )
        finally:
            # A path that no route owns must not become a label value: anybody could fill the registry.
            route = getattr(scope.get("route"), "path", "unmatched")
            status = status or 499  # nginx's, for a client that left before the answer
            seconds = time.perf_counter() - started
            self._metrics.http_requests.labels(route, str(status)).inc()
            self._metrics.http_seconds.labels(route).observe(seconds)
            # uvloop sends at the end of this round of the loop what was written in it: the answer need not wait for its line in the log.
            asyncio.get_running_loop().call_soon(_log_answered, scope["method"], route, status, seconds)
            logs.request_id.reset(serving)


def install(app: FastAPI, metrics: Metrics, is_leaving: Callable[[], bool]) -> None:
    """Put the middleware and the error handlers on an application."""

    async def on_empathetic_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, EmpatheticError)  # noqa: S101  # registered for this class alone
        return error_response(exc, request.state.request_id)

    async def on_http_exception(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101  # registered for this class alone
        not_allowed = exc.status_code == MethodNotAllowed.status
        error = MethodNotAllowed(f"{request.method} is not allowed here") if not_allowed else NotFound("no such path")
        response = error_response(error, request.state.request_id)
        response.headers.update(exc.headers or {})
        return response

    app.add_exception_handler(EmpatheticError, on_empathetic_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_middleware(RequestContext, metrics=metrics, is_leaving=is_leaving)


async def read_body(request: Request) -> bytes:
    """Read a request's body up to the limit.

    Raises:
        TooLarge: it is longer; what follows is not read.
        MalformedRequest: it did not arrive in time.
    """
    too_large = TooLarge(f"the body is over {MAX_BODY_BYTES} bytes")
    if int(request.headers.get("content-length", "0")) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except asyncio.TimeoutError:  # on Python 3.10 it is not yet the built-in TimeoutError
        raise MalformedRequest(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    return bytes(body)


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await work, and cancel it when the client leaves.

    Raises:
        ClientDisconnect: the client left; nobody reads an answer.
    """
    answering = asyncio.current_task()
    assert answering is not None  # noqa: S101  # a coroutine runs in a task
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        await disconnected(request.receive)
        has_left = True
        answering.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if has_left:
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()


async def send_in_time(send: Send, message: Message) -> None:
    """Send a piece of a stream; raises SlowReader when the client takes nothing for too long."""
    try:
        async with timeout(SEND_SECONDS):
            await send(message)
    except asyncio.TimeoutError:  # on Python 3.10 it is not yet the built-in TimeoutError
        raise SlowReader from None


async def disconnected(receive: Receive) -> None:
    """Wait until the client has left; its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Encode an answer as JSON."""
    return Response(orjson.dumps(content), status_code=status, headers=headers, media_type="application/json")


def error_response(error: EmpatheticError, request_id: str) -> Response:
    """Encode an error as the contract's body, with Retry-After where the error has one."""
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return json_response(error.body(request_id), error.status, headers)


def _log_answered(method: str, route: str, status: int, seconds: float) -> None:
    """Log the route and not the path, which may hold a session's id; probes come every few seconds and would bury the rest."""
    level = logging.DEBUG if route in _PROBES else logging.INFO
    if logger.isEnabledFor(level):
        logger.log(level, "answered", extra=logs.fields(method=method, route=route, status=status, ms=round(1000 * seconds, 1)))


def new_request_id(scope: Scope) -> str:
    """Take the client's X-Request-Id when it is harmless in a log line, or make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return f"{random.getrandbits(128):032x}"  # it tells requests apart and guards nothing: no need to ask the kernel
