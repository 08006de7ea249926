"""The queue between requests and compute: bounded, two priorities, batches of texts of like length. Knows no model and no event loop.

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

# A model call and what surrounds it cost about as much as so many tokens of work (docs/log.md): what padding is weighed against.
CALL_TOKENS = 4
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
    """The waiting texts of one priority: length → texts in order of arrival."""

    buckets: dict[int, deque[QueuedText[T]]] = field(default_factory=dict)
    waiting: int = 0

    def set_bucket(self, length: int, texts: deque[QueuedText[T]]) -> None:
        """Store the texts of a length, or forget it when there are none: every bucket that is there has a head."""
        if texts:
            self.buckets[length] = texts
        else:
            self.buckets.pop(length, None)


class BatchQueue(Generic[T]):
    """Admits requests, and forms batches of texts of similar length.

    Args:
        max_texts: texts of one priority that may wait.
        max_batch_tokens: rows times longest row of a batch, unless a single text is longer.
        max_batch_texts: rows of a batch; None for any number.
        on_drop: told how many texts were dropped with their ticket.
    """

    def __init__(
        self,
        max_texts: int,
        max_batch_tokens: int,
        *,
        max_batch_texts: int | None = None,
        on_drop: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._max_texts = max_texts
        self._max_batch_tokens = max_batch_tokens
        self._max_batch_texts = max_batch_texts or max_batch_tokens  # a text has a token at least
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
                lane.buckets.setdefault(length, deque()).append(text)
            ticket.waiting = len(ticket.lengths)
            lane.waiting += ticket.waiting
            self._changed.notify(len(ticket.lengths))

    def drop(self, ticket: Ticket[T]) -> None:
        """Abandon a ticket: its waiting texts free their places at once and are never computed."""
        if ticket.waiting:
            with self._changed:
                self._drop(ticket)

    def take(self, *, wait: bool = True) -> list[QueuedText[T]]:
        """Return the next batch, sorted by length, longest first; empty when the queue is closed, and without `wait` when nothing waits.

        Interactive texts come before bulk ones. The oldest text of the lane is always in the batch, so that nothing waits behind a better
        fit for ever. Of the batches around it that `max_batch_tokens` allows, it is the one with the largest share of work in its cost.
        """
        with self._changed:
            while True:
                for lane in self._lanes.values():
                    if lane.waiting:
                        return self._form(lane)
                if self._closed or not wait:
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

    def any_waiting(self) -> bool:
        """Whether a text of any priority waits."""
        return any(lane.waiting for lane in self._lanes.values())

    def clear(self) -> list[Ticket[T]]:
        """Drop all that waits, and return its tickets."""
        with self._changed:
            tickets = {text.ticket: None for lane in self._lanes.values() for bucket in lane.buckets.values() for text in bucket}
            for ticket in tickets:
                self._drop(ticket)
            return list(tickets)

    def close(self) -> list[Ticket[T]]:
        """Refuse new work, wake the compute threads, and return the tickets whose texts will not be computed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self.clear()

    def _drop(self, ticket: Ticket[T]) -> None:
        lane = self._lanes[ticket.priority]
        for length, bucket in list(lane.buckets.items()):
            kept = deque(text for text in bucket if text.ticket is not ticket)
            lane.set_bucket(length, kept)
        lane.waiting -= ticket.waiting
        self._on_drop(ticket.waiting)
        ticket.waiting = 0

    def _form(self, lane: _Lane[T]) -> list[QueuedText[T]]:
        """Take a batch out of a lane that has work; the lock is held."""
        oldest = min(lane.buckets, key=lambda length: lane.buckets[length][0].order)
        lengths = sorted(lane.buckets, reverse=True)
        plans = (self._plan(lane, lengths[start:], oldest) for start in range(lengths.index(oldest) + 1))
        _, counts = max((plan for plan in plans if oldest in plan[1]), key=lambda plan: plan[0])
        batch = []
        for length, count in counts.items():
            bucket = lane.buckets[length]
            batch += [bucket.popleft() for _ in range(count)]
            lane.set_bucket(length, bucket)
        for text in batch:
            text.ticket.waiting -= 1
        lane.waiting -= len(batch)
        return batch

    def _plan(self, lane: _Lane[T], lengths: Sequence[int], oldest: int) -> tuple[float, dict[int, int]]:
        """Fill a batch from its longest texts downwards.

        Args:
            lane: where they wait.
            lengths: of the texts that may be in it, descending; there are texts of the first one in it.
            oldest: below this length, only texts are taken that raise the batch's efficiency.

        Returns:
            the share of tokens in what the batch costs, padding and the call included; and how many texts of each length are in it.
        """
        longest = lengths[0]
        rows = min(max(1, self._max_batch_tokens // longest), self._max_batch_texts)
        counts: dict[int, int] = {}
        taken = tokens = 0
        efficiency = 0.0
        for length in lengths:
            if taken == rows or (length < oldest and length <= efficiency * longest):
                break
            counts[length] = min(len(lane.buckets[length]), rows - taken)
            taken += counts[length]
            tokens += counts[length] * length
            efficiency = tokens / (taken * longest + CALL_TOKENS)
        return efficiency, counts
