"""The sessions in use and their running turns. A turn is a task of its own: it outlives the connection that asked for it.

Knows frames and listeners, but neither sockets nor HTTP; what other processes do in a session comes through the relay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

import orjson

from .chat import ChatService, Edit, Recover, Request, Say
from .engines.protocols import Sampling
from .errors import BackendUnavailable, NotFound, Overloaded, SessionBusy
from .events import Ack
from .frames import Frame, Listener, LiveSession, Turn
from .metrics import Metrics
from .relays.memory_relay import MemoryRelay
from .relays.protocols import TURN_SECONDS, Relay, Signal
from .responder import Answer, Answering
from .retention import purge_forever
from .session_ids import is_temporary
from .sessions.protocols import Message
from .turn_runner import RETRY_SECONDS, TurnRunner

logger = logging.getLogger(__name__)

# The wire contract's time: so long a turn goes on after the last listener has left.
GRACE_SECONDS = 60.0
_SWEEP_SECONDS = 1.0


class LiveSessions:
    """All sessions that somebody uses in this process.

    Args:
        chat: answers and stores.
        relay: brings the frames of a session to all who listen; temporary sessions, which are this process' own, have another one.
        metrics: where running turns and listeners are counted.
        max_turns: turns that may run at once; more are refused, unless the person is in danger.
        retention_days: conversations that nobody touched for so long are deleted.
        grace_s: how long a turn goes on when nobody listens; the wire contract's time.

    Attributes:
        is_leaving: whether the server was asked to stop; nobody should send it new work.
        is_draining: whether new turns are refused, because the server is stopping.
    """

    def __init__(
        self,
        chat: ChatService,
        relay: Relay,
        metrics: Metrics,
        *,
        max_turns: int,
        retention_days: int,
        grace_s: float = GRACE_SECONDS,
    ) -> None:
        self.chat = chat
        self._runner = TurnRunner(chat, metrics)
        self._relay = relay
        self._temporary_relay = MemoryRelay()
        self._metrics = metrics
        self._max_turns = max_turns
        self._retention_days = retention_days
        self._grace_s = grace_s
        self._sessions: dict[str, LiveSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._unkept = 0
        self.is_leaving = False
        self.is_draining = False
        metrics.running_turns.set_function(self._running)

    async def open(self) -> None:
        """Open the stores and the relay, and begin to sweep; raises StoreError, BackendUnavailable."""
        await self.chat.open()
        await self._relay.open(self)
        await self._temporary_relay.open(self)
        self._keep(self._errands, self._sweep_forever())
        self._keep(self._errands, purge_forever(self.chat, self._retention_days))

    def relay(self, session_id: str) -> Relay:
        """Return the relay that a session's frames go through."""
        return self._temporary_relay if is_temporary(session_id) else self._relay

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
        if session.turn is not None and session.turn.is_ending:
            await asyncio.wait([session.turn.done])
            session = await self._live(session_id)
        turn = Turn(request)
        try:
            if session.turn is not None:
                raise SessionBusy("a turn is running in this session")
            self._admit([Message("", "user", request.text)] if isinstance(request, Say | Edit) else [])
            session.turn = turn
            self._keep(self._tasks, self._runner.run(session, turn, self.relay(session_id)))
            await asyncio.shield(turn.accepted)
        except (SessionBusy, Overloaded, BackendUnavailable):
            known = await self.chat.earlier(session_id, request)  # also while that message is being answered
            if known is None:
                raise
            turn = Turn(request)
            ack = Ack(known.client_id, known.message_id, duplicate=True)
            turn.accepted.set_result(await self.relay(session_id).publish(session_id, ack, None))
            turn.done.set_result(None)
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
            BackendUnavailable: the store cannot be reached.
        """
        session = await self._live(session_id)
        listener = Listener()
        session.listeners.add(listener)
        session.keep_turn()
        self._metrics.listeners.inc()
        try:
            missed = await self.relay(session_id).missed(session_id, last_seq)
        except BaseException:
            self.leave(session, listener)
            raise
        first: list[Frame | str] = [] if ready is None else [ready]
        if last_seq is not None:
            resumed = {"type": "resumed", "replayed": len(missed.frames), "complete": missed.is_complete}
            first += [orjson.dumps(resumed).decode(), *missed.frames]
        listener.begin(*first, seq=missed.seq)
        return session, listener

    def leave(self, session: LiveSession, listener: Listener) -> None:
        """Stop listening. A running turn that nobody listens to goes on for a minute."""
        if listener not in session.listeners:
            return
        session.listeners.discard(listener)
        self._metrics.listeners.dec()
        if session.listeners:
            return
        if session.turn is not None:
            self._begin_grace(session)
        elif session.check_at is not None:  # a turn may run in another process: its grace begins now
            self._keep(self._errands, self._signal(session.session_id, "left"))

    async def stop(self, session: LiveSession) -> None:
        """Abort the session's running turn, wherever it runs; raises BackendUnavailable."""
        if session.turn is not None:
            session.stop()
        else:
            await self.relay(session.session_id).signal(session.session_id, "stop")

    async def recover(self, session_id: str) -> None:
        """Answer the last message when a crash has left it without a reply."""
        session = await self._live(session_id)
        if session.turn is not None or self.is_draining:
            return
        messages = (await self.chat.store(session_id).load(session_id)).messages
        if session.check_at is None and not (messages and messages[-1].role == "user"):
            return
        session.check_at = asyncio.get_running_loop().time() + TURN_SECONDS
        try:
            await self.begin(session_id, Recover())
        except (SessionBusy, Overloaded):
            pass  # another client or process has asked for the same, or answers now; else the next check asks again
        except NotFound:
            session.check_at = None

    async def delete(self, session_id: str) -> None:
        """Delete a session, its frames included; who listens is let go. Raises NotFound, BackendUnavailable."""
        session = self._sessions.get(session_id)
        if session is not None and session.turn is not None:
            session.stop()
            await asyncio.wait([session.turn.done])
        await self.chat.store(session_id).delete(session_id)
        await self.relay(session_id).signal(session_id, "deleted")

    async def drain(self, timeout_s: float) -> None:
        """Refuse new turns, send listeners away as their turns end, and abort what still runs after the time."""
        self.is_leaving = self.is_draining = True
        for session in self._sessions.values():
            if session.turn is None:
                session.send_away("leaving")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for session in self._sessions.values():
            session.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Abort what runs, store it, and close the relay and the stores."""
        await self.drain(0)
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self._relay.aclose()
        await self._temporary_relay.aclose()
        await self.chat.aclose()

    def on_frame(self, session_id: str, frame: Frame) -> None:
        """Hand a frame on, and remember whether the turn that it belongs to has ended."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        if frame.type == "done":
            session.check_at = None
        elif frame.type != "ack" or not frame.fields()["duplicate"]:
            session.check_at = asyncio.get_running_loop().time() + TURN_SECONDS
        session.hand_on(frame)
        if self.is_draining and frame.type == "done":
            session.send_away("leaving")

    def on_signal(self, session_id: str, signal: Signal) -> None:
        """Do what a signal says, to the part of the session that is here."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        if signal != "left":
            session.stop()
        elif session.turn is not None and not session.listeners:
            session.keep_turn()
            self._begin_grace(session)
        if signal == "deleted":
            self._forget(session)
            session.send_away("deleted")

    def _begin_grace(self, session: LiveSession) -> None:
        end = self._end_grace
        session.grace = asyncio.get_running_loop().call_later(self._grace_s, lambda: self._keep(self._errands, end(session)))

    async def _end_grace(self, session: LiveSession) -> None:
        """Stop a turn, unless somebody listens to it in another process."""
        session.grace = None
        try:
            if await self.relay(session.session_id).has_other_listeners(session.session_id):
                self._begin_grace(session)
                return
        except BackendUnavailable:
            logger.info("a turn without listeners is stopped: the other servers cannot be asked")
        session.stop()

    async def _signal(self, session_id: str, signal: Signal) -> None:
        with suppress(BackendUnavailable):  # then the turn's own grace, or its outage, ends it
            await self.relay(session_id).signal(session_id, signal)

    def _admit(self, messages: Sequence[Message]) -> None:
        """Refuse a turn when there is no room for it; a person in danger is always answered."""
        if self.is_draining:
            raise BackendUnavailable("the server is stopping", retry_after_s=1)
        if self._running() >= self._max_turns and not (messages and self.chat.responder.is_crisis(messages)):
            raise Overloaded("too many replies are being written", retry_after_s=2)

    def _running(self) -> int:
        return len(self._tasks) + self._unkept

    def _keep(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task of its own, referenced until it is done."""
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _live(self, session_id: str) -> LiveSession:
        """Return a session, attached to its relay; raises NotFound, BackendUnavailable."""
        while session_id not in self._sessions:
            conversation = await self.chat.store(session_id).load(session_id)
            try:
                await self.relay(session_id).attach(session_id, conversation.session.last_seq)
            except BaseException:
                if session_id not in self._sessions:  # else another client has attached it
                    self._keep(self._errands, self.relay(session_id).detach(session_id))
                raise
            self._sessions.setdefault(session_id, LiveSession(session_id))
        return self._sessions[session_id]

    def _forget(self, session: LiveSession) -> None:
        del self._sessions[session.session_id]
        self._keep(self._errands, self.relay(session.session_id).detach(session.session_id))

    async def _check(self, session: LiveSession) -> None:
        """See whether a turn was left without an end, by a process that died or lost the store, and finish it."""
        try:
            await self.recover(session.session_id)
        except NotFound:
            session.check_at = None
        except BackendUnavailable:
            session.check_at = asyncio.get_running_loop().time() + RETRY_SECONDS

    async def _sweep_forever(self) -> None:
        """Finish what was left without an end, and forget idle sessions."""
        loop = asyncio.get_running_loop()
        while True:
            for session in list(self._sessions.values()):
                if not (session.listeners or session.turn):
                    self._forget(session)
                elif session.turn is None and session.check_at is not None and session.check_at <= loop.time():
                    session.check_at = None if self.is_draining else loop.time() + TURN_SECONDS
                    self._keep(self._errands, self._check(session))
            await asyncio.sleep(_SWEEP_SECONDS)
