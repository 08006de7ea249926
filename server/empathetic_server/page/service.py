"""How the page reaches the chat service: the wire contract, within this process or over the network. Knows no Gradio.

Within the process requests go through the whole application, checks of keys and quotas included, in the visitor's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
from starlette.types import ASGIApp, Message
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

_SOCKET = "/v1/chat/ws"
# Frames that wait for the page; when it does not take them, the service sees a slow reader.
_WAITING_FRAMES = 256


class ServiceError(Exception):
    """The service refuses what was asked, or cannot be reached.

    Attributes:
        code: the contract's code.
        message: the contract's message, which may be shown.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ConnectionLost(ServiceError):
    """Nothing more comes on a connection."""

    def __init__(self) -> None:
        super().__init__("backend_unavailable", "the connection was lost")


@dataclass(frozen=True, slots=True)
class Visitor:
    """In whose name the page asks."""

    address: str
    api_key: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what tells the service who asks."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}


class Socket(Protocol):
    """An open conversation."""

    async def send(self, **frame: Any) -> None:
        """Send a frame; raises ConnectionLost."""

    async def receive(self) -> dict[str, Any]:
        """Return the next frame; raises ConnectionLost, or another ServiceError for an `error` frame."""


class Service:
    """The service behind a page.

    Args:
        app: the application in this process; None for a server elsewhere.
        url: that server's address.
    """

    def __init__(self, app: ASGIApp | None, url: str = "http://page.local") -> None:
        self._app = app
        self._url = url.rstrip("/")

    async def call(self, visitor: Visitor, method: str, path: str, body: Any = None) -> httpx2.Response:
        """Send a request and return its answer; raises ServiceError for one that is none of success."""
        transport = None if self._app is None else httpx2.ASGITransport(self._app, client=(visitor.address, 0))
        headers = visitor.headers() | self._forwarded(visitor)
        try:
            async with httpx2.AsyncClient(transport=transport, base_url=self._url, timeout=60) as client:
                response = await client.request(method, path, json=body, headers=headers)
        except httpx2.HTTPError as exc:
            raise ServiceError("backend_unavailable", "the server cannot be reached") from exc
        if response.is_error:
            raise _error(response.json() if "json" in response.headers.get("content-type", "") else {})
        return response

    @asynccontextmanager
    async def socket(self, visitor: Visitor, **hello: Any) -> AsyncIterator[tuple[Socket, dict[str, Any]]]:
        """Open a conversation and say hello; yields it with the `ready` frame. Raises ServiceError."""
        opened = self._within(visitor) if self._app is not None else self._over_network(visitor)
        async with opened as socket:
            await socket.send(type="hello", **{name: value for name, value in hello.items() if value is not None})
            yield socket, await socket.receive()

    @asynccontextmanager
    async def _over_network(self, visitor: Visitor) -> AsyncIterator[Socket]:
        headers = visitor.headers() | self._forwarded(visitor)
        try:
            async with connect(f"ws{self._url[4:]}{_SOCKET}", additional_headers=headers, compression=None) as connection:
                yield _NetworkSocket(connection)
        except InvalidHandshake as exc:
            body = getattr(getattr(exc, "response", None), "body", None)
            raise _error(json.loads(body) if body else {}) from exc
        except OSError as exc:
            raise ServiceError("backend_unavailable", "the server cannot be reached") from exc

    @asynccontextmanager
    async def _within(self, visitor: Visitor) -> AsyncIterator[Socket]:
        assert self._app is not None, "`socket` has asked"  # noqa: S101  # a defect of ours
        socket = _ProcessSocket(self._app, visitor)
        try:
            await socket.open()
            yield socket
        finally:
            await socket.close()

    def _forwarded(self, visitor: Visitor) -> dict[str, str]:
        """Tell a server elsewhere for whom we ask; it believes that from a trusted proxy alone."""
        return {} if self._app is not None else {"x-forwarded-for": visitor.address}


class _NetworkSocket:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, **frame: Any) -> None:
        try:
            await self._connection.send(json.dumps(frame))
        except ConnectionClosed as exc:
            raise ConnectionLost() from exc

    async def receive(self) -> dict[str, Any]:
        try:
            return _checked(await self._connection.recv())
        except ConnectionClosed as exc:
            raise ConnectionLost() from exc


class _ProcessSocket:
    """A WebSocket to an application in this process, by the ASGI protocol."""

    def __init__(self, app: ASGIApp, visitor: Visitor) -> None:
        headers = [(name.encode(), value.encode()) for name, value in visitor.headers().items()]
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": _SOCKET,
            "raw_path": _SOCKET.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": (visitor.address, 0),
            "server": ("page.local", None),
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue(_WAITING_FRAMES)
        self._running = asyncio.ensure_future(self._run(app, scope))

    async def open(self) -> None:
        """Connect; raises ServiceError when the application refuses."""
        await self._to_app.put({"type": "websocket.connect"})
        answer = await self._from_app.get()
        if answer is not None and answer["type"] == "websocket.http.response.start":
            answer = await self._from_app.get()
            raise _error(json.loads((answer or {}).get("body", b"") or b"{}"))
        if answer is None or answer["type"] != "websocket.accept":
            raise ConnectionLost()

    async def send(self, **frame: Any) -> None:
        await self._to_app.put({"type": "websocket.receive", "text": json.dumps(frame)})

    async def receive(self) -> dict[str, Any]:
        message = await self._from_app.get()
        if message is None or message["type"] != "websocket.send":
            raise ConnectionLost()
        return _checked(message["text"])

    async def close(self) -> None:
        """Leave, and wait until the application has noticed."""
        await self._to_app.put({"type": "websocket.disconnect", "code": 1000})
        while not self._running.done():
            with contextlib.suppress(asyncio.QueueEmpty):
                self._from_app.get_nowait()  # it may wait to send
            await asyncio.wait((self._running,), timeout=0.05)

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._to_app.get, self._from_app.put)
        finally:
            await self._from_app.put(None)


def _checked(text: str | bytes) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(text)
    if frame["type"] == "error":
        raise _error(frame)
    return frame


def _error(body: dict[str, Any]) -> ServiceError:
    error = body.get("error", {})
    return ServiceError(error.get("code", "internal"), error.get("message", "the server could not answer"))


def is_address(url: str) -> bool:
    """Tell whether an address can be a server's."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.netloc)
