"""Frames of the sessions that one process alone serves: those of a SQLite file, and temporary ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..events import Event
from ..frames import FRAME_SECONDS, Frame
from .protocols import Missed, Receiver, Signal

_SWEEP_SECONDS = 30.0


@dataclass(slots=True)
class _Kept:
    """A session's last number, and its frames with the time of each."""

    seq: int
    frames: deque[tuple[float, Frame]] = field(default_factory=deque)
    is_attached: bool = True


class MemoryRelay:
    """Hands frames from a turn to the listeners of the same process.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._receiver: Receiver | None = None
        self._swept_at = clock()

    async def open(self, receiver: Receiver) -> None:
        """Begin to hand on."""
        self._receiver = receiver

    async def attach(self, session_id: str, last_seq: int) -> None:
        """Hand on the session's frames from now on."""
        self._kept.setdefault(session_id, _Kept(last_seq)).is_attached = True

    async def detach(self, session_id: str) -> None:
        """Hand on nothing more; the frames stay for their time."""
        if session_id in self._kept:
            self._kept[session_id].is_attached = False
        self._forget_old_sessions()

    async def claim(self, session_id: str, turn_id: str) -> bool:
        """Allow it: no other process can have a turn in the session."""
        return True

    async def release(self, session_id: str, turn_id: str) -> None:
        """Do nothing, as nothing was taken."""

    async def publish(self, session_id: str, event: Event, turn_id: str | None) -> Frame:
        """Number an event, keep it and hand it on."""
        kept = self._kept[session_id]
        self._forget_old_frames(kept)
        kept.seq += 1
        frame = Frame.of(event, kept.seq)
        kept.frames.append((self._clock(), frame))
        if self._receiver is not None:
            self._receiver.on_frame(session_id, frame)
        return frame

    async def missed(self, session_id: str, last_seq: int | None) -> Missed:
        """Return the frames after a number."""
        kept = self._kept[session_id]
        self._forget_old_frames(kept)
        if last_seq is None:
            return Missed((), is_complete=True, seq=kept.seq)
        if not kept.frames and last_seq > kept.seq:
            kept.seq = last_seq
            return Missed((), is_complete=False, seq=kept.seq)
        frames = [frame for _, frame in kept.frames if frame.seq > last_seq]
        return Missed(frames, is_complete=last_seq <= kept.seq and len(frames) == kept.seq - last_seq, seq=kept.seq)

    def next_seq(self, session_id: str) -> int:
        """Return the number that the next frame will have."""
        return self._kept[session_id].seq + 1

    async def signal(self, session_id: str, signal: Signal) -> None:
        """Hand a signal on; a deleted session's frames are forgotten."""
        if signal == "deleted":
            self._kept.pop(session_id, None)
        if self._receiver is not None:
            self._receiver.on_signal(session_id, signal)

    async def has_other_listeners(self, session_id: str) -> bool:
        """Deny it: there is no other process."""
        return False

    async def aclose(self) -> None:
        """Hand on nothing more."""
        self._receiver = None

    def _forget_old_frames(self, kept: _Kept) -> None:
        while kept.frames and self._clock() - kept.frames[0][0] > FRAME_SECONDS:
            kept.frames.popleft()

    def _forget_old_sessions(self) -> None:
        """Drop what nobody is attached to once its frames are too old; not at every call, since it looks at all of them."""
        if self._clock() - self._swept_at < _SWEEP_SECONDS:
            return
        self._swept_at = self._clock()
        for session_id, kept in list(self._kept.items()):
            self._forget_old_frames(kept)
            if not (kept.frames or kept.is_attached):
                del self._kept[session_id]
