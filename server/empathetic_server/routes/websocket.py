"""`/v1/chat/ws`: frames in, frames out. One task reads, one writes; the turns are neither's."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import Field, TypeAdapter

from .. import logs, persona
from ..chat import Edit, Regenerate, Request, Say
from ..errors import EmpatheticError, InternalError, InvalidRequest, MalformedRequest, Unauthenticated
from ..frames import Ending, Frame, Listener, LiveSession
from ..live import LiveSessions
from ..sessions.protocols import Message
from ..time_limits import timeout
from .access import Access, caller_of, owned
from .chat_schemas import (
    MAX_FRAME_BYTES,
    MAX_MESSAGE_CHARS,
    EditFrame,
    Hello,
    MessageFrame,
    PingFrame,
    RegenerateFrame,
    StopFrame,
)
from .context import SEND_SECONDS, new_request_id
from .decoding import decode_frame

logger = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_LIMITS = {"max_frame_bytes": MAX_FRAME_BYTES, "max_message_chars": MAX_MESSAGE_CHARS}
_FRAMES = (Hello, MessageFrame, StopFrame, RegenerateFrame, EditFrame, PingFrame)
AnyFrame = Hello | MessageFrame | StopFrame | RegenerateFrame | EditFrame | PingFrame
_ADAPTER: TypeAdapter[AnyFrame] = TypeAdapter(Annotated[AnyFrame, Field(discriminator="type")])
_KNOWN = {name for frame in _FRAMES for name in frame.model_fields}

# Close codes of the wire contract.
_POLICY, _TOO_LARGE, _TRY_LATER = 1008, 1009, 1013
_ENDINGS: dict[Ending, tuple[int, str]] = {
    "lagging": (_TRY_LATER, "too slow a reader"),
    "deleted": (1000, "the conversation was deleted"),
    "leaving": (1012, "the server is going down"),
}


def websocket_router(live: LiveSessions, access: Access) -> APIRouter:
    """Build the route."""
    router = APIRouter()

    @router.websocket("/v1/chat/ws")
    async def chat_socket(websocket: WebSocket) -> None:
        started = time.perf_counter()
        request_id = new_request_id(websocket.scope)
        serving = logs.request_id.set(request_id)
        await websocket.accept(headers=[(b"x-request-id", request_id.encode())])
        try:
            await _Connection(websocket, live, access, request_id).run()
        finally:
            logger.info("a connection ended", extra=logs.fields(seconds=round(time.perf_counter() - started, 1)))
            logs.request_id.reset(serving)

    return router


class _Left(Exception):
    """The connection is over."""


class _Connection:
    """One client: says hello, then reads its frames while a task writes."""

    def __init__(self, websocket: WebSocket, live: LiveSessions, access: Access, request_id: str) -> None:
        self._websocket = websocket
        self._live = live
        self._access = access
        self._caller = caller_of(websocket)
        self._request_id = request_id

    async def run(self) -> None:
        """Serve the client until it leaves or is sent away."""
        try:
            session, listener = await self._welcome()
        except asyncio.TimeoutError:  # on Python 3.10 it is not yet the built-in TimeoutError
            await self._close(_POLICY, "no hello in time")
            return
        except _Left:
            return
        reading = asyncio.create_task(self._read_forever(session, listener))
        writing = asyncio.create_task(self._write(listener))
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._live.leave(session, listener)
            for task in (reading, writing):
                task.cancel()
            for outcome in await asyncio.gather(reading, writing, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, _Left):
                    logger.error("a connection failed", exc_info=outcome)

    async def _welcome(self) -> tuple[LiveSession, Listener]:
        """Wait for a valid hello and join its session; raises asyncio.TimeoutError when none comes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HELLO_SECONDS
        while True:
            try:
                hello = await asyncio.wait_for(self._receive(), deadline - loop.time())
                if not isinstance(hello, Hello):
                    raise InvalidRequest("type: the first frame must be hello")
                if self._caller.owner is None:
                    self._caller = replace(self._caller, owner=self._access.owner(hello.api_key))
                return await self._join(hello)
            except Unauthenticated as exc:
                await self._turn_away(exc)
                raise _Left from exc
            except EmpatheticError as exc:
                await self._send(self._error(exc))

    async def _join(self, hello: Hello) -> tuple[LiveSession, Listener]:
        ready = {"type": "ready", "protocol": 1, "limits": _LIMITS, "disclosure": persona.DISCLOSURE}
        if hello.session_id is None:
            created = await self._live.chat.create_session(temporary=hello.temporary, owner=self._caller.owner)
            ready |= {"session_id": created.session_id, "greeting": created.greeting}
        else:
            ready["session_id"] = owned(hello.session_id, self._caller)
        session_id = str(ready["session_id"])
        session, listener = await self._live.join(session_id, ready=orjson.dumps(ready).decode(), last_seq=hello.last_seq)
        try:
            await self._live.recover(session_id)
        except BaseException:
            self._live.leave(session, listener)
            raise
        return session, listener

    async def _read_forever(self, session: LiveSession, listener: Listener) -> None:
        while True:
            try:
                frame = await self._receive()
                if isinstance(frame, PingFrame):
                    listener.put('{"type":"pong"}')
                elif isinstance(frame, StopFrame):
                    await self._live.stop(session)
                else:
                    await self._begin(session, _request(frame))
            except Unauthenticated as exc:
                await self._turn_away(exc)
                return
            except EmpatheticError as exc:
                listener.put(self._error(exc))
            except _Left:
                raise
            except Exception:  # a defect of ours ends no conversation
                logger.exception("a frame failed")
                listener.put(self._error(InternalError("an internal error; the log has it under this request id")))

    async def _begin(self, session: LiveSession, request: Request) -> None:
        """Start a turn, unless the key was revoked or the quota is spent; a person in danger is answered all the same."""
        refusal = await self._access.charge(self._caller)
        if refusal is not None and (isinstance(refusal, Unauthenticated) or not self._is_in_danger(request)):
            raise refusal
        await self._live.begin(session.session_id, request)

    def _is_in_danger(self, request: Request) -> bool:
        return isinstance(request, Say | Edit) and self._live.chat.responder.is_crisis([Message("", "user", request.text)])

    async def _turn_away(self, error: Unauthenticated) -> None:
        await self._send(self._error(error))
        await self._close(_POLICY, "an API key is needed")

    async def _write(self, listener: Listener) -> None:
        async for item in listener:
            await self._send(item.text if isinstance(item, Frame) else item)
        if listener.ending is not None:
            await self._close(*_ENDINGS[listener.ending])

    async def _receive(self) -> AnyFrame:
        """Return the next frame.

        Raises:
            MalformedRequest, InvalidRequest: the frame is wrong; the connection stays open.
            _Left: the client left, or its frame was too large.
        """
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise _Left
        text = message.get("text")
        if text is None:
            raise MalformedRequest("frames are text, not bytes")
        if len(text) > MAX_FRAME_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
            await self._close(_TOO_LARGE, "the frame is too large")
            raise _Left
        return decode_frame(text, _ADAPTER, _KNOWN)

    async def _send(self, text: str) -> None:
        try:
            async with timeout(SEND_SECONDS):
                await self._websocket.send_text(text)
        except asyncio.TimeoutError as exc:
            await self._close(_TRY_LATER, "too slow a reader")
            raise _Left from exc
        except (RuntimeError, WebSocketDisconnect) as exc:  # closed from here, or from there
            raise _Left from exc

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with timeout(_CLOSE_SECONDS):
                await self._websocket.close(code, reason)
        except asyncio.TimeoutError:
            logger.debug("a slow reader does not take this frame either")
        except (RuntimeError, WebSocketDisconnect):
            logger.debug("the connection was closed already")

    def _error(self, error: EmpatheticError) -> str:
        return orjson.dumps({"type": "error", **error.body(self._request_id)}).decode()


def _request(frame: Hello | MessageFrame | RegenerateFrame | EditFrame) -> Request:
    if isinstance(frame, MessageFrame):
        return Say(frame.text, frame.client_id)
    if isinstance(frame, RegenerateFrame):
        return Regenerate(frame.reply_id)
    if isinstance(frame, EditFrame):
        return Edit(frame.message_id, frame.text)
    raise InvalidRequest("type: hello was said already")
