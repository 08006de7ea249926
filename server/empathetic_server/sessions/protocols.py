"""What the server needs from a session store, and no more. Knows no technology.

Times are UTC, ISO 8601 with milliseconds and `Z` (`now()`), so that they sort as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, Protocol

from ..safety import Level

# The id of the turn that the running task writes for; None outside of turns. A store that several processes share asks for it.
writing_turn: ContextVar[str | None] = ContextVar("writing_turn", default=None)


def now() -> str:
    """Return the present time as it is stored."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        emotion: of a user's message: an element of `data` in the wire contract; None where no classifier answered.
        safety: of a user's message: its level, when it is not `none`.
        client_id: of a user's message: the client's own id, unique in the session.
        finish_reason: of a reply: why it ended.
        strategy: of a reply: the support strategy it was written with.
    """

    message_id: str
    role: Literal["user", "assistant"]
    text: str
    created_at: str = field(default_factory=now)
    emotion: Mapping[str, Any] | None = None
    safety: Level | None = None
    client_id: str | None = None
    finish_reason: str | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thinks of a reply."""

    message_id: str
    rating: Literal["up", "down"]
    comment: str | None = None
    created_at: str = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation without its messages.

    Attributes:
        user_name: what the person wants to be called.
        disclosed_at: when the person was last told that this is an AI.
        last_seq: the number of the last frame that was sent, as far as it is stored.
    """

    session_id: str
    greeting: str
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    user_name: str | None = None
    disclosed_at: str = field(default_factory=now)
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session with everything in it, oldest first."""

    session: Session
    messages: tuple[Message, ...] = ()
    feedback: tuple[Feedback, ...] = ()


class SessionStore(Protocol):
    """Keeps conversations. When a call returns, what it did survives the death of the process (not for the memory store).

    Every call that names a session raises NotFound when there is none, and BackendUnavailable when the store is closed or
    cannot be reached. A store that several processes share raises SessionBusy when `writing_turn` has lost the session to another
    process; nothing changes. Every call that changes a session also sets its `updated_at`. Each call is one transaction.
    """

    @property
    def name(self) -> str:
        """The technology's name: the scheme of its URL."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises StoreError when that is impossible."""

    async def create(self, session: Session) -> None:
        """Store a new session."""

    async def load(self, session_id: str) -> Conversation:
        """Return a session with all its messages and feedback."""

    async def add_user_message(self, session_id: str, message: Message, *, last_seq: int) -> Message:
        """Append a user's message.

        Returns:
            The message; or, when the session has one with the same `client_id`, that one, and nothing changes.
        """

    async def edit_user_message(self, session_id: str, message_id: str, text: str, *, last_seq: int) -> Message:
        """Change a user's message, clear its emotion and safety, and delete every message after it, with their feedback.

        Raises:
            NotFound: the session has no such user's message; nothing changes.
        """

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
        """Store the reply to a user's message.

        Replaces every message after the user's (an earlier reply that was regenerated, with its feedback), sets the user's
        message's emotion and safety, and `disclosed_at` unless it is None.

        Raises:
            NotFound: the session or the user's message is gone; nothing changes.
        """

    async def set_user_name(self, session_id: str, name: str | None) -> None:
        """Set or erase the name."""

    async def set_last_seq(self, session_id: str, last_seq: int) -> None:
        """Raise the frame number; a lower one changes nothing."""

    async def add_feedback(self, session_id: str, feedback: Feedback) -> None:
        """Store feedback on a message; it replaces an earlier one on the same message.

        Raises:
            NotFound: the session has no such message.
        """

    async def delete(self, session_id: str) -> None:
        """Delete a session and everything in it, so that its bytes are no longer in the store's files."""

    async def purge(self, before: str) -> int:
        """Delete, as `delete` does, every session whose `updated_at` is before a time; return how many."""

    async def ready(self) -> bool:
        """Whether the store can answer now."""

    async def aclose(self) -> None:
        """Finish what runs and close. May be called twice."""
