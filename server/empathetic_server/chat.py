"""Conversations: what a turn reads and stores around the reply.

`ChatService.reply` yields typed events; encoders turn them into wire formats. Knows no HTTP, no socket and no engine.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from . import persona
from .errors import BackendError, NotFound
from .events import Disclosure, Done, Event
from .metrics import Metrics
from .names import Refused, find_name
from .responder import Answer, Detected, Responder
from .session_ids import is_temporary, new_session_id
from .sessions.protocols import Conversation, Message, Session, SessionStore, now
from .strategies import Moment

logger = logging.getLogger(__name__)

# The person is asked for a name once, in the greeting: their first two messages may answer it.
_NAME_MESSAGES = 2
# A longer message that also gives a name tells something: that deserves the reply.
_INTRODUCTION_WORDS = 5


@dataclass(frozen=True, slots=True)
class Say:
    """A new message of the person."""

    text: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Another text for an earlier message; what followed it is dropped."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Regenerate:
    """Another reply; the old one stays until the new one is stored."""

    reply_id: str


@dataclass(frozen=True, slots=True)
class Recover:
    """The reply to the last message, which a crash or a failing store has cut off."""


Request = Say | Edit | Regenerate | Recover


class Accepted(NamedTuple):
    """A stored message of the person.

    Attributes:
        message: what to acknowledge.
        is_known: whether it was accepted before.
        is_waiting: whether it is to be answered: a repeat is not, unless a crash has left it without a reply.
    """

    message: Message
    is_known: bool
    is_waiting: bool


class ChatService:
    """Keeps conversations and answers in them.

    Args:
        responder: answers messages.
        sessions: where conversations are kept.
        temporary: where temporary ones are kept; never on a disk.
        metrics: where turns are counted.
    """

    def __init__(self, responder: Responder, sessions: SessionStore, temporary: SessionStore, metrics: Metrics) -> None:
        self.responder = responder
        self._sessions = sessions
        self._temporary = temporary
        self._metrics = metrics

    def store(self, session_id: str) -> SessionStore:
        """Return the store that holds a session, if any does."""
        return self._temporary if is_temporary(session_id) else self._sessions

    async def create_session(self, *, temporary: bool, owner: str | None = None) -> Session:
        """Begin a conversation; with an owner, theirs alone."""
        session = Session(new_session_id(temporary=temporary, owner=owner), persona.GREETING)
        await self.store(session.session_id).create(session)
        return session

    async def accept(self, session_id: str, request: Request, *, seq: int) -> Accepted:
        """Store what the person asks for, before it is acknowledged.

        Args:
            session_id: the conversation.
            request: what is asked.
            seq: the number of the frame that will acknowledge it.

        Raises:
            NotFound: no such session, message or reply.
            SessionBusy: the turn has lost the session to another process; nothing was accepted.
            BackendUnavailable: the store cannot be reached; nothing was accepted.
        """
        store = self.store(session_id)
        if isinstance(request, Say):
            asked = Message(f"msg_{secrets.token_hex(12)}", "user", request.text, client_id=request.client_id)
            message = await store.add_user_message(session_id, asked, last_seq=seq)
            if message.message_id == asked.message_id:
                return Accepted(message, is_known=False, is_waiting=True)
            last = (await store.load(session_id)).messages[-1]
            return Accepted(message, is_known=True, is_waiting=last.message_id == message.message_id)
        if isinstance(request, Edit):
            edited = await store.edit_user_message(session_id, request.message_id, request.text, last_seq=seq)
            return Accepted(edited, is_known=False, is_waiting=True)
        messages = (await store.load(session_id)).messages
        if isinstance(request, Recover):
            if not messages or messages[-1].role != "user":
                raise NotFound("no message waits for a reply")
            message = messages[-1]
        else:
            index = next((i for i, reply in enumerate(messages) if reply.role == "assistant" and reply.message_id == request.reply_id), 0)
            if not index or messages[index - 1].role != "user":
                raise NotFound("no such reply")
            message = messages[index - 1]
        await store.set_last_seq(session_id, seq)
        return Accepted(message, is_known=isinstance(request, Recover), is_waiting=True)

    async def earlier(self, session_id: str, request: Request) -> Message | None:
        """Return the message that a request repeats, if it was accepted before; raises NotFound, BackendUnavailable."""
        if not isinstance(request, Say) or request.client_id is None:
            return None
        messages = (await self.store(session_id).load(session_id)).messages
        return next((message for message in messages if message.client_id == request.client_id), None)

    async def reply(
        self,
        session_id: str,
        message_id: str,
        reply_id: str,
        *,
        stop: asyncio.Event,
        detecting: asyncio.Task[Detected] | None,
        next_seq: Callable[[], int],
    ) -> AsyncGenerator[Event, None]:
        """Answer a stored message of the person.

        Yields what happens, in the order of the wire contract; with the last event, `Done`, the reply is stored.

        Args:
            session_id: the conversation.
            message_id: the user's message.
            reply_id: the id of the reply.
            stop: when set, the reply ends with what was shown until then.
            detecting: the message's emotions, if it was begun to detect them.
            next_seq: tells the number that the next frame will have, for the store.

        Raises:
            NotFound: the session was deleted meanwhile.
        """
        started = time.perf_counter()
        store = self.store(session_id)
        with self._metrics.load_seconds.time():
            conversation = await store.load(session_id)
        messages = _until_message(conversation, message_id)
        replaced = [message.text for message in conversation.messages[len(messages) :] if message.role == "assistant"]
        session = conversation.session
        user_name, moment = await self._learn_name(store, session, messages)
        disclosed_at = now() if _seconds_since(session.disclosed_at) >= persona.DISCLOSURE_INTERVAL_S else None
        if disclosed_at:
            yield Disclosure(persona.DISCLOSURE)
        answering = self.responder.respond(
            messages, reply_id=reply_id, stop=stop, detecting=detecting, user_name=user_name, moment=moment, replaced=replaced
        )
        async with aclosing(answering):
            async for happening in answering:
                if not isinstance(happening, Answer):
                    yield happening
                    continue
                answer = happening
                finish_reason = answer.finish_reason
                try:
                    with self._metrics.finish_seconds.time():
                        await store.finish_turn(
                            session_id,
                            message_id,
                            Message(reply_id, "assistant", answer.text, finish_reason=finish_reason, strategy=answer.strategy),
                            emotion=answer.emotion,
                            safety=None if answer.safety.level == "none" else answer.safety.level,
                            disclosed_at=disclosed_at,
                            last_seq=next_seq(),
                        )
                except BackendError as exc:
                    logger.error("a reply could not be stored: %s", exc.message)
                    self._metrics.degraded.labels("sessions").inc()
                    finish_reason = "error"
                self._metrics.turns.labels(finish_reason).inc()
                timings = {**answer.timings, "total_ms": round(1000 * (time.perf_counter() - started), 3)}
                yield Done(message_id, reply_id, answer.text, finish_reason, answer.trajectory.as_dict(), timings)

    async def ready(self) -> bool:
        """Whether conversations can be stored now."""
        return await self._sessions.ready()

    @property
    def store_name(self) -> str:
        """The technology that keeps conversations."""
        return self._sessions.name

    async def open(self) -> None:
        """Open the stores; raises StoreError."""
        await self._sessions.open()
        await self._temporary.open()

    async def purge(self, before: str, temporary_before: str) -> None:
        """Delete the conversations that nobody touched since these times."""
        purged = await self._sessions.purge(before) + await self._temporary.purge(temporary_before)
        self._metrics.purged_sessions.inc(purged)

    async def aclose(self) -> None:
        """Close the stores."""
        await self._sessions.aclose()
        await self._temporary.aclose()

    async def _learn_name(self, store: SessionStore, session: Session, messages: tuple[Message, ...]) -> tuple[str | None, Moment]:
        """Return what the person wants to be called, stored if it is new, and whether they have just said it."""
        if session.user_name is not None:
            return session.user_name, "ordinary"
        said = sum(message.role == "user" for message in messages)
        name = find_name(messages[-1].text, asked=said <= _NAME_MESSAGES)
        if name is None:
            return None, "ordinary"
        is_short = len(messages[-1].text.split()) <= _INTRODUCTION_WORDS
        if isinstance(name, Refused):
            return None, "name_refused"
        await store.set_user_name(session.session_id, name)
        return name, "introduced" if is_short else "ordinary"


def new_reply_id() -> str:
    """Return an id for a reply."""
    return f"rep_{secrets.token_hex(12)}"


def _until_message(conversation: Conversation, message_id: str) -> tuple[Message, ...]:
    """Return the messages up to a user's message; what follows it is about to be replaced."""
    for index, message in enumerate(conversation.messages):
        if message.message_id == message_id:
            return conversation.messages[: index + 1]
    raise NotFound("no such message")


def _seconds_since(stored: str) -> float:
    return (
        datetime.fromisoformat(now().replace("Z", "+00:00")).timestamp() - datetime.fromisoformat(stored.replace("Z", "+00:00")).timestamp()
    )
