"""One session's frames: numbered, kept for a while, and handed to everybody who listens. Knows no store, no socket and no HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from .chat import Request, Say
from .events import Ack, Event, fields

# The wire contract's time.
FRAME_SECONDS = 600.0
# Far more frames than a reply has: who has not read them is not reading.
_LISTENER_FRAMES = 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as clients receive it; `text` is its JSON, encoded once for all listeners."""

    seq: int
    event: Event
    text: str
    at: float = field(default_factory=time.monotonic)


class Listener:
    """One client's view of a session: what has been put in, in order. `lagging` tells that it read too slowly and was cut off.

    Args:
        first: what the client receives before anything else, however much that is.
    """

    def __init__(self, *first: Frame | str) -> None:
        self.lagging = False
        self._queue: asyncio.Queue[Frame | str | None] = asyncio.Queue()
        self._limit = _LISTENER_FRAMES + len(first)
        for item in first:
            self._queue.put_nowait(item)

    def put(self, item: Frame | str) -> None:
        """Add a frame, or the text of an unnumbered one."""
        if self._queue.qsize() >= self._limit:
            self.lagging = True
            self.close()
        if not self.lagging:
            self._queue.put_nowait(item)

    def close(self) -> None:
        """End the view after what is in it."""
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Frame | str]:
        """Yield what was put in until the view is closed or cut off."""
        while (item := await self._queue.get()) is not None and not self.lagging:
            yield item


class Turn:
    """A turn under way; `accepted` holds its ack once the message is stored, `done` its last frame."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[Frame] = loop.create_future()
        # Who asked may be gone when it fails: then the failure is nobody's.
        self.accepted.add_done_callback(lambda accepted: accepted.exception())
        self.done: asyncio.Future[Frame | None] = loop.create_future()


class LiveSession:
    """A session's frames, listeners and running turn."""

    def __init__(self, session_id: str, seq: int) -> None:
        self.session_id = session_id
        self.seq = seq
        self.frames: deque[Frame] = deque()
        self.listeners: set[Listener] = set()
        self.turn: Turn | None = None
        self.grace: asyncio.TimerHandle | None = None

    def publish(self, event: Event) -> Frame:
        """Number an event and hand it to every listener."""
        self.seq += 1
        frame = Frame(self.seq, event, orjson.dumps({**fields(event), "seq": self.seq}).decode())
        self.frames.append(frame)
        for listener in self.listeners:
            listener.put(frame)
        return frame

    def forget_old_frames(self, now: float) -> None:
        """Drop the frames that are older than the contract keeps them."""
        while self.frames and now - self.frames[0].at > FRAME_SECONDS:
            self.frames.popleft()

    def stop(self) -> None:
        """Abort the running turn, if there is one."""
        if self.turn is not None:
            self.turn.stop.set()

    def keep_turn(self) -> None:
        """End the grace of a turn: somebody listens again, or it is over."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None

    def known_ack(self, request: Request) -> Ack | None:
        """Return the ack of an earlier message with the request's `client_id`, if it is kept; older ones are found by the store."""
        if not isinstance(request, Say) or request.client_id is None:
            return None
        acks = (frame.event for frame in self.frames if isinstance(frame.event, Ack))
        return next((ack for ack in acks if ack.client_id == request.client_id), None)

    def missed(self, last_seq: int) -> tuple[list[Frame], bool]:
        """Return the kept frames after a number, and whether they are all that came after it.

        A client may have frames that a killed process sent and never stored: its number is taken over, so that numbers only rise.
        """
        if not self.frames and last_seq > self.seq:
            self.seq = last_seq
            return [], False
        frames = [frame for frame in self.frames if frame.seq > last_seq]
        return frames, last_seq <= self.seq and len(frames) == self.seq - last_seq
