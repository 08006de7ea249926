"""The sessions in use and their running turns. A turn is a task of its own: it outlives the connection that asked for it.

Knows frames and listeners, but neither sockets nor HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta, timezone

import orjson

from .chat import ChatService, Edit, Recover, Request, Say, new_reply_id
from .engines.protocols import Sampling
from .errors import BackendUnavailable, EmpatheticError, InternalError, NotFound, Overloaded, SessionBusy
from .events import Ack, Delta, Done
from .frames import Frame, Listener, LiveSession, Turn
from .metrics import Metrics
from .responder import Answer, Answering
from .sessions.protocols import Message
from .trajectory import follow

logger = logging.getLogger(__name__)

# The wire contract's time: so long a turn goes on after the last listener has left.
GRACE_SECONDS = 60.0
_SWEEP_SECONDS = 30.0
_PURGE_SECONDS = 3600.0
# A temporary conversation is over when nobody has touched it for this long; it holds memory.
_TEMPORARY_HOURS = 2


class LiveSessions:
    """All sessions that somebody is using.

    Args:
        chat: answers and stores.
        metrics: where running turns and listeners are counted.
        max_turns: turns that may run at once; more are refused, unless the person is in danger.
        retention_days: conversations that nobody touched for so long are deleted.

    Attributes:
        is_draining: whether new turns are refused because the server is stopping.
    """

    def __init__(self, chat: ChatService, metrics: Metrics, *, max_turns: int, retention_days: int) -> None:
        self.chat = chat
        self._metrics = metrics
        self._max_turns = max_turns
        self._retention_days = retention_days
        self._sessions: dict[str, LiveSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._unkept = 0
        self.is_draining = False
        metrics.running_turns.set_function(self._running)

    async def open(self) -> None:
        """Open the stores and begin to sweep; raises StoreError."""
        await self.chat.open()
        self._sweeper = asyncio.create_task(self._sweep_forever())

    async def begin(self, session_id: str, request: Request) -> Turn:
        """Start a turn; returns when the message is stored and acknowledged.

        A repeat of a message accepted before is acknowledged again and not answered again; its `done` is None.

        Raises:
            NotFound: no such session, message or reply.
            SessionBusy: a turn is running in the session.
            Overloaded: too many turns are running.
            BackendUnavailable: the server is stopping, or the store cannot be reached.
        """
        session = await self._live(session_id)
        turn = Turn(request)
        if known := session.known_ack(request):  # also while that message is being answered
            turn.accepted.set_result(session.publish(Ack(known.client_id, known.message_id, duplicate=True)))
            turn.done.set_result(None)
            return turn
        if session.turn is not None:
            raise SessionBusy("a turn is running in this session")
        self._admit([Message("", "user", request.text)] if isinstance(request, Say | Edit) else [])
        session.turn = turn
        task = asyncio.create_task(self._run(session, turn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(turn.accepted)
        return turn

    async def converse(
        self, messages: Sequence[Message], *, reply_id: str, stop: asyncio.Event, sampling: Sampling
    ) -> AsyncGenerator[Answering, None]:
        """Answer a conversation that is not kept here; raises as `begin`, before the first piece of the reply.

        There are no written words behind the generators: who asks for a model's completion can ask again, or ask another one.
        """
        self._admit(messages)
        self._unkept += 1
        try:
            respond = self.chat.responder.respond
            async with aclosing(respond(messages, reply_id=reply_id, stop=stop, sampling=sampling, has_fallback=False)) as answering:
                async for happening in answering:
                    if isinstance(happening, Answer):
                        self._metrics.turns.labels(happening.finish_reason).inc()
                    yield happening
        finally:
            self._unkept -= 1

    async def join(self, session_id: str, *, ready: str | None = None, last_seq: int | None = None) -> tuple[LiveSession, Listener]:
        """Listen to a session.

        Args:
            session_id: the session.
            ready: the text of a frame that the listener receives first.
            last_seq: the last frame that the client has; what it missed follows after a `resumed` frame.

        Raises:
            NotFound: no such session.
        """
        session = await self._live(session_id)
        first: list[Frame | str] = [] if ready is None else [ready]
        if last_seq is not None:
            missed, complete = session.missed(last_seq)
            first += [orjson.dumps({"type": "resumed", "replayed": len(missed), "complete": complete}).decode(), *missed]
        listener = Listener(*first)
        session.listeners.add(listener)
        session.keep_turn()
        self._metrics.listeners.inc()
        return session, listener

    def leave(self, session: LiveSession, listener: Listener) -> None:
        """Stop listening. A running turn that nobody listens to goes on for a minute."""
        if listener not in session.listeners:
            return
        session.listeners.discard(listener)
        self._metrics.listeners.dec()
        if not session.listeners and session.turn is not None:
            session.grace = asyncio.get_running_loop().call_later(GRACE_SECONDS, session.stop)

    async def recover(self, session_id: str) -> None:
        """Answer the last message when a crash has left it without a reply."""
        session = await self._live(session_id)
        if session.turn is not None or self.is_draining:
            return
        messages = (await self.chat.store(session_id).load(session_id)).messages
        if messages and messages[-1].role == "user":
            # Busy: another client has asked for the same. Overloaded: the next one to join asks again.
            with suppress(SessionBusy, Overloaded, NotFound):
                await self.begin(session_id, Recover())

    async def delete(self, session_id: str) -> None:
        """Delete a session, its frames included; who listens is let go. Raises NotFound."""
        session = self._sessions.get(session_id)
        if session is not None and session.turn is not None:
            session.stop()
            await asyncio.wait([session.turn.done])
        await self.chat.store(session_id).delete(session_id)
        self._sessions.pop(session_id, None)
        for listener in session.listeners if session else ():
            listener.close()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new turns, let the running ones finish, and abort what still runs after the time."""
        self.is_draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for session in self._sessions.values():
            session.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Abort what runs, store it, and close the stores."""
        await self.drain(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.chat.aclose()

    def _admit(self, messages: Sequence[Message]) -> None:
        """Refuse a turn when there is no room for it; a person in danger is always answered."""
        if self.is_draining:
            raise BackendUnavailable("the server is stopping", retry_after_s=1)
        if self._running() >= self._max_turns and not (messages and self.chat.responder.is_crisis(messages)):
            raise Overloaded("too many replies are being written", retry_after_s=2)

    def _running(self) -> int:
        return len(self._tasks) + self._unkept

    async def _live(self, session_id: str) -> LiveSession:
        if session_id not in self._sessions:
            conversation = await self.chat.store(session_id).load(session_id)
            self._sessions.setdefault(session_id, LiveSession(session_id, conversation.session.last_seq))
        return self._sessions[session_id]

    async def _run(self, session: LiveSession, turn: Turn) -> None:
        """Run a turn to its end, whatever happens."""
        last: Frame | None = None
        try:
            message, is_repeat = await self.chat.accept(session.session_id, turn.request, seq=session.seq + 1)
            is_known = is_repeat or isinstance(turn.request, Recover)
            turn.accepted.set_result(session.publish(Ack(message.client_id, message.message_id, duplicate=is_known)))
            if not is_repeat:
                last = await self._answer(session, turn, message.message_id)
        except EmpatheticError as exc:
            turn.accepted.set_exception(exc)
        except Exception:  # a defect of ours: who waits is told, and the other sessions go on
            logger.exception("a turn could not be run")
            if not turn.accepted.done():
                turn.accepted.set_exception(InternalError("an internal error; the log has it"))
        finally:
            session.turn = None
            session.keep_turn()
            turn.done.set_result(last)

    async def _answer(self, session: LiveSession, turn: Turn, message_id: str) -> Frame:
        """Publish what happens until the reply is stored; a defect ends the turn with `error`, never without an end."""
        reply_id = new_reply_id()
        shown: list[str] = []
        try:
            events = self.chat.reply(session.session_id, message_id, reply_id, stop=turn.stop, next_seq=lambda: session.seq + 1)
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Delta):
                        shown.append(event.text)
                    frame = session.publish(event)
                    if isinstance(event, Done):
                        return frame
        except EmpatheticError as exc:
            logger.warning("a turn failed: %s", exc.message)
        except Exception:  # as above
            logger.exception("a turn failed")
        self._metrics.turns.labels("error").inc()
        timings = {"classify_ms": None, "first_token_ms": None, "total_ms": None}
        return session.publish(Done(message_id, reply_id, "".join(shown), "error", follow(()).as_dict(), timings))

    async def _sweep_forever(self) -> None:
        """Forget old frames and idle sessions, and delete the conversations whose time is over."""
        purge_at = 0.0
        while True:
            now = time.monotonic()
            for session in list(self._sessions.values()):
                session.forget_old_frames(now)
                if not (session.frames or session.listeners or session.turn):
                    del self._sessions[session.session_id]
            if now >= purge_at:
                try:
                    await self.chat.purge(_days_ago(self._retention_days), _days_ago(_TEMPORARY_HOURS / 24))
                    purge_at = now + _PURGE_SECONDS
                except EmpatheticError as exc:
                    logger.warning("old conversations could not be deleted now: %s", exc.message)
            await asyncio.sleep(_SWEEP_SECONDS)


def _days_ago(days: float) -> str:
    then = datetime.now(timezone.utc) - timedelta(days=days)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
