"""One turn as an HTTP answer: a JSON object or Server-Sent Events. A client that leaves aborts the reply."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request as HttpRequest
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ..chat import Edit, Request, Say
from ..errors import BackendUnavailable
from ..frames import Frame, Listener, LiveSession, Turn
from ..live import LiveSessions
from ..safety import Assessment
from ..sessions.protocols import Message
from ..streams import until
from .access import refuse_over_quota
from .context import disconnected, json_response, send_in_time, unless_disconnected


class TurnView:
    """A turn that an HTTP client has asked for and listens to."""

    def __init__(self, live: LiveSessions, session: LiveSession, listener: Listener, turn: Turn) -> None:
        self._live = live
        self._session = session
        self._listener = listener
        self._turn = turn

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Yield the turn's frames, from ack to done, or to the error that has interrupted it."""
        first = self._turn.accepted.result().seq
        async for item in self._listener:
            if isinstance(item, Frame) and (item.seq >= first or item.type == "error"):
                yield item
                if item.type in ("done", "error"):
                    return

    def close(self) -> None:
        """Stop listening; aborts the turn if it still runs."""
        self._turn.stop.set()
        self._live.leave(self._session, self._listener)


async def answer(http: HttpRequest, live: LiveSessions, session_id: str, request: Request, *, stream: bool) -> Response:
    """Run a turn and answer with it.

    Raises:
        RateLimited, NotFound, SessionBusy, Overloaded, BackendUnavailable: the turn was not accepted.
    """
    refuse_over_quota(http, live, [Message("", "user", request.text)] if isinstance(request, Say | Edit) else [])
    session, listener = await live.join(session_id)
    try:
        turn = await live.begin(session_id, request)
    except BaseException:
        live.leave(session, listener)
        raise
    view = TurnView(live, session, listener, turn)
    if stream:
        return EventStream(view, session_id)
    try:
        return json_response(await unless_disconnected(http, _collect(view, session_id)))
    finally:
        view.close()


async def _collect(view: TurnView, session_id: str) -> dict[str, Any]:
    """Wait for a turn's end and return the object of `POST /v1/chat`."""
    emotion: dict[str, Any] | None = None
    safety = Assessment("none").as_dict()
    ending: dict[str, Any] = {}
    async for frame in view.frames():
        if frame.type == "emotion":
            emotion = _without(frame.fields(), "type", "seq", "message_id")
        elif frame.type == "safety":
            safety = _without(frame.fields(), "type", "seq")
        elif frame.type == "done":
            ending = _without(frame.fields(), "type", "seq")
    if not ending:
        raise BackendUnavailable("the conversation was interrupted", retry_after_s=1)
    return {"session_id": session_id, **ending, "emotion": emotion, "safety": safety}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


class EventStream(Response):
    """A turn's frames as Server-Sent Events; `ack` carries the session."""

    media_type = "text/event-stream"

    def __init__(self, view: TurnView, session_id: str) -> None:
        # Proxies must neither keep nor collect what is written word by word.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._view = view
        self._session_id = session_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames until the turn is over or the client leaves."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for frame in until(disconnected(receive), self._view.frames()):
                await send_in_time(send, {"type": "http.response.body", "body": self._encode(frame), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._view.close()

    def _encode(self, frame: Frame) -> bytes:
        text = frame.text
        if frame.type == "ack":
            text = json.dumps({**frame.fields(), "session_id": self._session_id})
        return f"event: {frame.type}\ndata: {text}\n\n".encode()
