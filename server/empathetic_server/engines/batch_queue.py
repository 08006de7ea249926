"""The queue between requests and compute: bounded, two priorities, buckets by length. Knows no model and no event loop.

Any thread may call any method; a compute thread blocks in `take`.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import BackendUnavailable, Overloaded
from .protocols import Priority

# Texts whose token counts fall into the same bucket are batched together: at most 7 tokens of padding each.
BUCKET_WIDTH = 8
# Buckets below its own that a batch also takes from. A model call costs about as much as 19 tokens of work (a text alone
# takes twice its share of a batch, docs/log.md), so up to 16 tokens of padding are cheaper than one more call.
NEIGHBORS = 2
_PRIORITIES: tuple[Priority, ...] = ("interactive", "bulk")
# Weight of the newest batch in the running estimate of throughput, from which Retry-After is computed.
_SMOOTHING = 0.2

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Ticket(Generic[T]):
    """One request's texts in the queue; `payload` is the caller's own."""

    payload: T
    lengths: Sequence[int]
    priority: Priority
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class QueuedText(Generic[T]):
    """Text number `index` of a ticket. `order` rises with arrival."""

    ticket: Ticket[T]
    index: int
    length: int
    order: int


@dataclass(slots=True)
class _Lane(Generic[T]):
    """The waiting texts of one priority: bucket number → texts in order of arrival."""

    buckets: dict[int, deque[QueuedText[T]]] = field(default_factory=dict)
    waiting: int = 0

    def set_bucket(self, number: int, texts: deque[QueuedText[T]]) -> None:
        """Store a bucket, or remove it when it is empty: every bucket that is there has a head."""
        if texts:
            self.buckets[number] = texts
        else:
            self.buckets.pop(number, None)


class BatchQueue(Generic[T]):
    """Admits requests, and forms batches of texts of similar length.

    Args:
        max_texts: texts of one priority that may wait.
        max_batch_tokens: rows times longest row of a batch, unless a single text is longer.
        on_drop: told how many texts were dropped with their ticket.
    """

    def __init__(
        self,
        max_texts: int,
        max_batch_tokens: int,
        on_drop: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._max_texts = max_texts
        self._max_batch_tokens = max_batch_tokens
        self._on_drop = on_drop
        self._lanes: dict[Priority, _Lane[T]] = {priority: _Lane() for priority in _PRIORITIES}
        self._changed = threading.Condition()
        self._order = 0
        self._texts_per_s = 0.0
        self._closed = False

    def put(self, ticket: Ticket[T]) -> None:
        """Admit all texts of a ticket, or none.

        Raises:
            Overloaded: they do not fit; `retry_after_s` is when the lane should have drained.
            BackendUnavailable: the queue is closed.
        """
        with self._changed:
            if self._closed:
                raise BackendUnavailable("the classifier is shutting down", retry_after_s=1)
            lane = self._lanes[ticket.priority]
            # An empty lane takes any request, so that none is refused for ever by a small limit.
            if lane.waiting and lane.waiting + len(ticket.lengths) > self._max_texts:
                seconds = lane.waiting / self._texts_per_s if self._texts_per_s else 1.0
                raise Overloaded("the classifier's queue is full", retry_after_s=max(1, math.ceil(seconds)))
            for index, length in enumerate(ticket.lengths):
                self._order += 1
                text = QueuedText(ticket, index, length, self._order)
                lane.buckets.setdefault((length - 1) // BUCKET_WIDTH, deque()).append(text)
            ticket.waiting = len(ticket.lengths)
            lane.waiting += ticket.waiting
            self._changed.notify()

    def drop(self, ticket: Ticket[T]) -> None:
        """Abandon a ticket: its waiting texts free their places at once and are never computed."""
        if ticket.waiting:
            with self._changed:
                self._drop(ticket)

    def take(self) -> list[QueuedText[T]]:
        """Wait for work and return the next batch, sorted by length, longest first; empty when the queue is closed.

        Interactive texts come before bulk ones. The oldest text of the lane is always in the batch; texts of its bucket, then
        of the `NEIGHBORS` buckets below, join it while `max_batch_tokens` allows, so that nothing waits behind a better fit for ever.
        """
        with self._changed:
            while True:
                for lane in self._lanes.values():
                    if lane.waiting:
                        return self._form(lane)
                if self._closed:
                    return []
                self._changed.wait()

    def computed(self, texts: int, seconds: float) -> None:
        """Record how long a batch took, for Retry-After."""
        rate = texts / max(seconds, 1e-6)
        with self._changed:
            self._texts_per_s += _SMOOTHING * (rate - self._texts_per_s) if self._texts_per_s else rate

    def waiting(self, priority: Priority) -> int:
        """Texts of a priority that wait."""
        return self._lanes[priority].waiting

    def close(self) -> list[Ticket[T]]:
        """Refuse new work, wake the compute threads, and return the tickets whose texts will not be computed."""
        with self._changed:
            self._closed = True
            tickets = {text.ticket: None for lane in self._lanes.values() for bucket in lane.buckets.values() for text in bucket}
            for ticket in tickets:
                self._drop(ticket)
            self._changed.notify_all()
            return list(tickets)

    def _drop(self, ticket: Ticket[T]) -> None:
        lane = self._lanes[ticket.priority]
        for number, bucket in list(lane.buckets.items()):
            kept = deque(text for text in bucket if text.ticket is not ticket)
            lane.set_bucket(number, kept)
        lane.waiting -= ticket.waiting
        self._on_drop(ticket.waiting)
        ticket.waiting = 0

    def _form(self, lane: _Lane[T]) -> list[QueuedText[T]]:
        """Take a batch out of a lane that has work; the lock is held."""
        oldest = min(lane.buckets, key=lambda number: lane.buckets[number][0].order)
        batch: list[QueuedText[T]] = []
        longest = 0
        for number in range(oldest, max(-1, oldest - NEIGHBORS - 1), -1):
            bucket = lane.buckets.get(number, deque())
            while bucket:
                longest = max(longest, bucket[0].length)
                if batch and (len(batch) + 1) * longest > self._max_batch_tokens:
                    break
                batch.append(bucket.popleft())
            lane.set_bucket(number, bucket)
            if bucket:
                break
        for text in batch:
            text.ticket.waiting -= 1
        lane.waiting -= len(batch)
        return sorted(batch, key=lambda text: -text.length)
