"""An HTTP client for load: one request at a time on each connection, kept open, and as little Python as that takes.

It shares the cores with what it asks, so its time is taken from the server's: 0.10 ms a request where aiohttp takes 0.25 to 0.32
(docs/profiling.md).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httptools

from .loads import Refused

_TIMEOUT_SECONDS = 120.0


class Poster:
    """Posts JSON to one URL, on a connection of its own for each request that is on its way.

    Args:
        url: `http://HOST:PORT/PATH`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url} is no http:// URL")
        self._address = parts.hostname, parts.port or 80
        self._url = url
        self._head = f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: "
        self._idle: list[_Connection] = []

    async def post(self, value: Any) -> bytes:
        """Send a value as JSON, and return the body of the answer. Who is cancelled hangs up.

        Raises:
            Refused: the connection cannot be made, breaks, or is silent for two minutes; or the answer's status is not 200.
        """
        body = json.dumps(value).encode("ascii")
        connection = await self._connection()
        try:
            status, answer = await connection.exchange(f"{self._head}{len(body)}\r\n\r\n".encode("ascii") + body)
        except BaseException as exc:
            connection.close()
            if isinstance(exc, OSError):
                raise Refused(f"{self._url}: {exc}") from exc
            raise
        if connection.is_open:
            self._idle.append(connection)
        if status != 200:
            raise Refused(f"{self._url}: {status}")
        return answer

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        try:
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        except OSError as exc:
            raise Refused(f"{self._url}: {exc}") from exc
        return connection


class _Connection(asyncio.Protocol):
    """A connection, and the parser's callbacks."""

    def __init__(self) -> None:
        self.is_open = False
        self._body = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._body.clear()
        self._answer = loop.create_future()
        limit = loop.call_later(_TIMEOUT_SECONDS, self._fail, f"no answer in {_TIMEOUT_SECONDS:.0f} s")
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            limit.cancel()

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise for a stream
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(f"the answer is not HTTP: {exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail("the connection was closed before the answer")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), bytes(self._body)))

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
