"""Conversations in this process's memory: for temporary sessions, which are never written, and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BackendUnavailable, NotFound, Overloaded
from ..safety import Level
from .protocols import Conversation, Feedback, Message, Session, now


class MemorySessions:
    """Keeps conversations until the process ends.

    Args:
        max_sessions: more are refused, because memory is finite and dropping another person's conversation is no way out.
    """

    name = "memory"

    def __init__(self, *, max_sessions: int) -> None:
        self._max_sessions = max_sessions
        self._conversations: dict[str, Conversation] | None = {}

    async def open(self) -> None:
        """Do nothing: memory is always there."""

    async def create(self, session: Session) -> None:
        """Store a new session; raises Overloaded when there are too many."""
        if len(self._kept()) >= self._max_sessions:
            raise Overloaded("too many conversations are kept in memory", retry_after_s=60)
        self._kept()[session.session_id] = Conversation(session)

    async def load(self, session_id: str) -> Conversation:
        """Return a session with everything in it."""
        try:
            return self._kept()[session_id]
        except KeyError:
            raise NotFound("no such session") from None

    async def add_user_message(self, session_id: str, message: Message, *, last_seq: int) -> Message:
        """Append a user's message, or return the one with the same `client_id`."""
        kept = await self.load(session_id)
        if message.client_id is not None:
            for earlier in kept.messages:
                if earlier.client_id == message.client_id:
                    return earlier
        self._change(kept, messages=(*kept.messages, message), last_seq=last_seq)
        return message

    async def edit_user_message(self, session_id: str, message_id: str, text: str, *, last_seq: int) -> Message:
        """Change a user's message and drop what followed."""
        kept = await self.load(session_id)
        index = _index(kept, message_id)
        edited = replace(kept.messages[index], text=text, emotion=None, safety=None)
        self._change(kept, messages=(*kept.messages[:index], edited), last_seq=last_seq)
        return edited

    async def finish_turn(
        self,
        session_id: str,
        message_id: str,
        reply: Message,
        *,
        emotion: Mapping[str, Any] | None,
        safety: Level | None,
        disclosed_at: str | None,
        last_seq: int,
    ) -> None:
        """Store the reply to a user's message in place of what followed it."""
        kept = await self.load(session_id)
        index = _index(kept, message_id)
        answered = replace(kept.messages[index], emotion=emotion, safety=safety)
        self._change(
            kept,
            messages=(*kept.messages[:index], answered, reply),
            last_seq=last_seq,
            disclosed_at=disclosed_at or kept.session.disclosed_at,
        )

    async def set_user_name(self, session_id: str, name: str | None) -> None:
        """Set or erase the name."""
        self._change(await self.load(session_id), user_name=name)

    async def set_last_seq(self, session_id: str, last_seq: int) -> None:
        """Raise the frame number."""
        self._change(await self.load(session_id), last_seq=last_seq)

    async def add_feedback(self, session_id: str, feedback: Feedback) -> None:
        """Store feedback on a message."""
        kept = await self.load(session_id)
        if all(message.message_id != feedback.message_id for message in kept.messages):
            raise NotFound("no such message")
        others = tuple(given for given in kept.feedback if given.message_id != feedback.message_id)
        self._change(replace(kept, feedback=(*others, feedback)))

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        await self.load(session_id)
        del self._kept()[session_id]

    async def purge(self, before: str) -> int:
        """Forget the sessions that nobody touched since a time."""
        old = [session_id for session_id, kept in self._kept().items() if kept.session.updated_at < before]
        for session_id in old:
            del self._kept()[session_id]
        return len(old)

    async def ready(self) -> bool:
        """Whether the store is open."""
        return self._conversations is not None

    async def aclose(self) -> None:
        """Forget everything."""
        self._conversations = None

    def _kept(self) -> dict[str, Conversation]:
        if self._conversations is None:
            raise BackendUnavailable("the session store is closed", retry_after_s=1)
        return self._conversations

    def _change(self, kept: Conversation, *, messages: tuple[Message, ...] | None = None, last_seq: int = 0, **session: Any) -> None:
        messages = kept.messages if messages is None else messages
        ids = {message.message_id for message in messages}
        changed = replace(kept.session, updated_at=now(), last_seq=max(last_seq, kept.session.last_seq), **session)
        feedback = tuple(given for given in kept.feedback if given.message_id in ids)
        self._kept()[changed.session_id] = Conversation(changed, messages, feedback)


def _index(kept: Conversation, message_id: str) -> int:
    """Return where a user's message is."""
    for index, message in enumerate(kept.messages):
        if message.message_id == message_id and message.role == "user":
            return index
    raise NotFound("no such message")
