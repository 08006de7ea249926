"""What every engine of the classifier does around its computing. Knows no technology, and no HTTP.

    texts ─► tokenizer threads ─► BatchQueue ─► the engine's batches ─► the request's future

Priorities, deadlines and the refusal of too much work are here and in the queue, so that an engine only computes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .. import logs
from ..errors import BackendUnavailable, DeadlineExceeded, EmpatheticError, InternalError
from ..metrics import Metrics
from ..time_limits import timeout
from .batch_queue import BatchQueue, QueuedText, Ticket
from .manifest import Manifest
from .protocols import Classification, Priority
from .window_tokenizer import WindowTokenizer

logger = logging.getLogger(__name__)

Scores = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits (rows, labels), embeddings (rows, hidden size)


@dataclass(eq=False, slots=True)
class Request:
    """One `classify` call while its texts are under way; touched by the event loop, and by who computes for their own rows."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    ids: list[NDArray[np.int64]]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    left: int
    deadline: float  # of time.monotonic()
    id: str
    compute_s: float = 0.0  # in which one of its batches at least was computed
    batches: int = 0  # that are computed now
    since: float = 0.0


Batch = list[QueuedText[Request]]


@dataclass(slots=True)
class RunningBatch:
    """A batch that is being computed. `ids` and `mask` are (rows, longest row) int64."""

    texts: Batch
    requests: tuple[Request, ...]
    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    started: float
    padded: float = field(default_factory=time.perf_counter)


class BatchingClassifier:
    """Tokenizes, queues, and puts scores back; a subclass takes batches from `_queue` and computes them.

    Args:
        manifest: the verified artifact.
        max_batch_tokens: tokens in a batch, padding included.
        max_batch_texts: texts in a batch; None for any number.
        max_queued_texts: texts of one priority that may wait.
        metrics: where stages, batches and queue are recorded.

    Raises:
        ArtifactError: the tokenizer cannot be loaded.
    """

    def __init__(
        self, manifest: Manifest, *, max_batch_tokens: int, max_queued_texts: int, metrics: Metrics, max_batch_texts: int | None = None
    ) -> None:
        self.labels = manifest.labels
        self.thresholds = manifest.thresholds
        self.model_version = manifest.model_version
        self._pad_id = manifest.pad_id
        self._hidden_size = manifest.hidden_size
        self._metrics = metrics
        self._tokenizer = WindowTokenizer(manifest)
        self._queue: BatchQueue[Request] = BatchQueue(
            max_queued_texts, max_batch_tokens, max_batch_texts=max_batch_texts, on_drop=metrics.dropped_texts.inc
        )
        for priority, gauge in metrics.queued_texts.items():
            gauge.set_function(partial(self._queue.waiting, priority))
        self._counting = threading.Lock()  # two threads may finish batches of one request at once
        self._closed = False

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        """Score texts; see `EmotionClassifier`."""
        if self._closed:
            raise BackendUnavailable("the classifier is shutting down", retry_after_s=1)
        started = time.perf_counter()
        deadline = time.monotonic() + timeout_s
        late = DeadlineExceeded(f"no answer within the deadline of {round(timeout_s * 1000)} ms")
        try:
            ids, truncated = await self._tokenizer.tokenize(texts, timeout_s)
        except asyncio.TimeoutError as exc:  # on Python 3.10 it is not yet the built-in TimeoutError
            raise late from exc
        tokenized = time.perf_counter()
        loop = asyncio.get_running_loop()
        probabilities = np.empty((len(ids), len(self.labels)), np.float32)
        embeddings = np.empty((len(ids), self._hidden_size), np.float32)
        request = Request(loop, loop.create_future(), ids, probabilities, embeddings, len(ids), deadline, logs.request_id.get())
        ticket = Ticket(request, [len(row) for row in ids], priority)
        self._queue.put(ticket)
        try:
            self._on_arrival()
            async with timeout(deadline - time.monotonic()):
                await request.future
        except asyncio.TimeoutError as exc:  # as above
            raise late from exc
        finally:
            self._queue.drop(ticket)
        finished = time.perf_counter()
        queue_s = max(0.0, finished - tokenized - request.compute_s)
        self._metrics.tokenize_seconds.observe(tokenized - started)
        self._metrics.queue_seconds.observe(queue_s)
        self._metrics.classified_texts.inc(len(ids))
        return Classification(
            probabilities=probabilities,
            embeddings=embeddings,
            tokens=tuple(ticket.lengths),
            truncated=truncated,
            tokenize_ms=1000 * (tokenized - started),
            queue_ms=1000 * queue_s,
            compute_ms=1000 * request.compute_s,
        )

    def _on_arrival(self) -> None:
        """Learn, on the event loop, that the queue has more work; for engines that do not block in `_queue.take`."""

    def _refuse(self, tickets: Sequence[Ticket[Request]], error: EmpatheticError) -> None:
        """Fail requests that left the queue."""
        for ticket in tickets:
            _settle(ticket.payload, error)

    def _begin(self, texts: Batch) -> RunningBatch:
        """Pad a batch, whose longest text comes first, and note that its computing begins."""
        started = time.perf_counter()
        requests = tuple(dict.fromkeys(text.ticket.payload for text in texts))
        self._count(requests, started, 1)
        shape = (len(texts), texts[0].length)
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, text in enumerate(texts):
            ids[row, : text.length] = text.ticket.payload.ids[text.index]
            mask[row, : text.length] = 1
        return RunningBatch(texts, requests, ids, mask, started)

    def _end(self, batch: RunningBatch, outcome: Scores | Exception, parallel: int) -> Batch:
        """Put scores, or an error, back into the requests.

        Args:
            batch: what `_begin` returned.
            outcome: its scores; an `EmpatheticError` that has nothing to do with the texts; or what the model failed with.
            parallel: batches that are computed at once.

        Returns:
            the texts that have to be tried again, each alone, because their batch failed.
        """
        finished = time.perf_counter()
        self._count(batch.requests, finished, -1)
        if isinstance(outcome, EmpatheticError):
            for request in batch.requests:
                _call_soon(request, _settle, request, outcome)
            return []
        self._queue.computed(len(batch.texts), (finished - batch.padded) / parallel)
        if isinstance(outcome, Exception) or not np.isfinite(outcome[0]).all():
            failure = outcome if isinstance(outcome, Exception) else None
            if len(batch.texts) > 1:
                logger.warning("a batch of %d texts failed; each is tried alone", len(batch.texts), exc_info=failure)
                return batch.texts
            logger.error("the model failed on one text", exc_info=failure)
            [request], [text] = batch.requests, batch.texts
            _call_soon(request, _settle, request, InternalError(f"the model failed on input[{text.index}]"))
            return []
        self._metrics.batch_seconds.observe(batch.padded - batch.started)
        self._metrics.compute_seconds.observe(finished - batch.padded)
        self._metrics.batch_texts.observe(len(batch.texts))
        self._metrics.batch_padding_ratio.observe(1.0 - sum(text.length for text in batch.texts) / batch.ids.size)
        self._deliver(batch.texts, outcome)
        return []

    def _count(self, requests: Sequence[Request], now: float, change: int) -> None:
        """Note that a batch with texts of these requests begins (1) or ends (-1)."""
        with self._counting:
            for request in requests:
                if request.batches:
                    request.compute_s += now - request.since
                request.batches += change
                request.since = now

    def _deliver(self, texts: Batch, scores: Scores) -> None:
        """Write the rows into their requests, and finish on the event loop those that are complete."""
        logits, embeddings = scores
        probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        touched: dict[Request, int] = {}
        for text, row, embedding in zip(texts, probabilities, embeddings, strict=True):
            request = text.ticket.payload
            request.probabilities[text.index] = row
            request.embeddings[text.index] = embedding
            touched[request] = touched.get(request, 0) + 1
        with self._counting:
            for request, count in touched.items():
                request.left -= count
                if request.left == 0:
                    _call_soon(request, _settle, request, None)


def _settle(request: Request, error: EmpatheticError | None) -> None:
    """Finish a request's future, on its event loop; a second outcome is ignored."""
    if request.future.done():
        return
    if error is None:
        request.future.set_result(None)
    else:
        request.future.set_exception(error)


def _call_soon(request: Request, *call: object) -> None:
    """Schedule on the request's loop; a loop that is closed has nobody left to answer."""
    if not request.loop.is_closed():
        request.loop.call_soon_threadsafe(*call)  # type: ignore[arg-type]  # a callable and its arguments
