"""uvicorn's HTTP protocol with a deadline for slow senders, and the contract's error for what is no HTTP at all."""

from __future__ import annotations

import asyncio
import uuid

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .errors import MalformedRequest

# Who needs longer for a request's first lines sends them slowly on purpose, to keep connections busy.
HEADER_SECONDS = 10.0


class DeadlineProtocol(HttpToolsProtocol):
    """Closes a connection whose request does not begin, or whose headers do not end, in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Expect a request."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._end_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Expect the rest of the headers; called at a request's first byte."""
        if self._deadline is None:
            self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the request have its time: its body's deadline is the route's."""
        self._end_deadline()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed with the contract's error, and close."""
        body = orjson.dumps(MalformedRequest(msg.rstrip(".")).body(request_id := uuid.uuid4().hex))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response("The request's headers did not arrive in time.")
