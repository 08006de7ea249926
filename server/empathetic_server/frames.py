"""What a session sends: frames, the listeners that receive them, and the turn they come from. Knows no store, no socket and no HTTP."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from .chat import Request
from .errors import EmpatheticError
from .events import Event, fields

# The wire contract's time.
FRAME_SECONDS = 600.0
# Why a listener hears nothing more: it reads too slowly, the conversation was deleted, or the server stops.
Ending = Literal["lagging", "deleted", "leaving"]
# Far more frames than a reply has: who has not read them is not reading.
_LISTENER_FRAMES = 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as clients receive it.

    Attributes:
        seq: its number; 0 for the error that tells of a turn which cannot go on, and which is not kept.
        type: the event's name in the wire contract.
        text: its JSON, encoded once for all listeners.
    """

    seq: int
    type: str
    text: str

    @classmethod
    def of(cls, event: Event, seq: int) -> Frame:
        """Encode an event."""
        return cls(seq, event.type, orjson.dumps({**fields(event), "seq": seq}).decode())

    @classmethod
    def of_error(cls, error: EmpatheticError, request_id: str) -> Frame:
        """Encode why a turn cannot go on."""
        return cls(0, "error", orjson.dumps({"type": "error", **error.body(request_id)}).decode())

    def fields(self) -> dict[str, Any]:
        """Decode the object that was sent."""
        decoded: dict[str, Any] = orjson.loads(self.text)
        return decoded


class Listener:
    """One client's view of a session, in order and without a repetition.

    Attributes:
        ending: why the view has ended or is about to; None while it goes on. Who lags is cut off, others still get what is in the view.
    """

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self._seq = 0
        self._queue: asyncio.Queue[Frame | str | None] = asyncio.Queue()
        self._limit = _LISTENER_FRAMES
        self._early: list[Frame | str] | None = []

    def begin(self, *first: Frame | str, seq: int) -> None:
        """Let the client receive what is given, however much that is; then what was put in meanwhile and is not part of it.

        Args:
            first: what the client receives before anything else.
            seq: the number of the session's last frame when that was gathered.
        """
        early, self._early = self._early or [], None
        self._limit += len(first)
        for item in first:
            self._queue.put_nowait(item)
        self._seq = seq
        for item in early:
            self.put(item)

    def put(self, item: Frame | str) -> None:
        """Add a frame, or the text of an unnumbered one."""
        if self._early is not None:
            self._early.append(item)
            return
        if isinstance(item, Frame) and item.seq:
            if item.seq <= self._seq:
                return
            self._seq = item.seq
        if self._queue.qsize() >= self._limit:
            self.close("lagging")
        if self.ending is None:
            self._queue.put_nowait(item)

    def close(self, ending: Ending) -> None:
        """End the view after what is in it; the first ending counts, unless the client lags."""
        if self.ending is None or ending == "lagging":
            self.ending = ending
            self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Frame | str]:
        """Yield what was put in until the view is closed or cut off."""
        while (item := await self._queue.get()) is not None and self.ending != "lagging":
            yield item


class Turn:
    """A turn under way in this process.

    Attributes:
        turn_id: tells it from the turns of other processes.
        stop: set to end the reply with what was shown until then.
        accepted: holds the ack once the message is stored.
        done: holds the last frame; None when there was none.
        is_ending: whether the last frame is on its way, so that the session is free in a moment.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.turn_id = secrets.token_hex(12)
        self.stop = asyncio.Event()
        self.is_ending = False
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[Frame] = loop.create_future()
        # Who asked may be gone when it fails: then the failure is nobody's.
        self.accepted.add_done_callback(lambda accepted: accepted.exception())
        self.done: asyncio.Future[Frame | None] = loop.create_future()


class LiveSession:
    """A session that somebody uses in this process.

    Attributes:
        listeners: who receives its frames here.
        turn: what is running here.
        grace: ends a turn that nobody listens to.
        check_at: when to see whether a turn was left without an end, on the event loop's clock; None when none is known to run.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.listeners: set[Listener] = set()
        self.turn: Turn | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.check_at: float | None = None

    def hand_on(self, frame: Frame) -> None:
        """Give a frame to every listener."""
        for listener in self.listeners:
            listener.put(frame)

    def send_away(self, ending: Ending) -> None:
        """End every listener's view."""
        for listener in self.listeners:
            listener.close(ending)

    def stop(self) -> None:
        """Abort the running turn, if there is one here."""
        if self.turn is not None:
            self.turn.stop.set()

    def keep_turn(self) -> None:
        """End the grace of a turn: somebody listens again, or it is over."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None
