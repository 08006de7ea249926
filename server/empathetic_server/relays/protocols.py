"""What the running sessions need from a relay, and no more. Knows no technology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..events import Event
from ..frames import Frame

# `stop`: end the running turn. `left`: a process has lost its last listener. `deleted`: the session is gone.
Signal = Literal["stop", "left", "deleted"]

# A turn whose process has died keeps its session for so long, at most.
TURN_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Missed:
    """What a client has missed.

    Attributes:
        frames: those that are kept, oldest first.
        is_complete: whether they are all.
        seq: the number of the session's last frame.
    """

    frames: Sequence[Frame]
    is_complete: bool
    seq: int


class Receiver(Protocol):
    """Who is handed the frames and signals of the sessions that it is attached to."""

    def on_frame(self, session_id: str, frame: Frame) -> None:
        """Take a frame; frames come in the order of their numbers, and may come again after an outage."""

    def on_signal(self, session_id: str, signal: Signal) -> None:
        """Take a signal, this process' own included."""


class Relay(Protocol):
    """Numbers a session's frames, keeps them for the contract's ten minutes and hands them on; keeps turns in one session apart.

    Every call but `detach` and `release` raises BackendUnavailable when what the processes share cannot be reached.
    """

    async def open(self, receiver: Receiver) -> None:
        """Begin to hand on. The session store must be open."""

    async def attach(self, session_id: str, last_seq: int) -> None:
        """Hand on the session's frames and signals from now on. Who attaches must detach, also when this fails.

        Args:
            session_id: an existing session.
            last_seq: the number of its last frame, as far as the store knows.
        """

    async def detach(self, session_id: str) -> None:
        """Hand on nothing more of a session."""

    async def claim(self, session_id: str, turn_id: str) -> bool:
        """Take a session for one turn; False when another turn has it. The claim is kept up until `release` or the last frame."""

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give a session back. Never fails: a claim that cannot be given back now is given back later, or expires."""

    async def publish(self, session_id: str, event: Event, turn_id: str | None) -> Frame:
        """Number an event, keep it and hand it to everybody who listens; the last event of a turn, `Done`, also ends its claim.

        Args:
            session_id: a session that is attached.
            event: what has happened.
            turn_id: the turn that it happened in; None outside of one.

        Raises:
            NotFound: the session was deleted.
            SessionBusy: the turn has lost the session to another one.
        """

    async def missed(self, session_id: str, last_seq: int | None) -> Missed:
        """Return what came after a frame; for None, nothing but the last number.

        A client may have frames that a killed process sent and never stored: its number is taken over, so that numbers only rise.
        """

    def next_seq(self, session_id: str) -> int:
        """Return the number that the next frame will have, for the session store; 0 when the relay's own number outlives the process."""

    async def signal(self, session_id: str, signal: Signal) -> None:
        """Hand on a signal."""

    async def has_other_listeners(self, session_id: str) -> bool:
        """Whether another process listens to the session."""

    async def aclose(self) -> None:
        """Hand on nothing more. May be called twice."""
