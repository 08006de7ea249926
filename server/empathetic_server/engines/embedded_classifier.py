"""The embedded engine: ONNX Runtime inside the server process, behind its own batcher.

    texts ─► tokenizer threads ─► BatchQueue ─► compute threads ─► the request's future

Knows no HTTP. Each core computes batches of its own: two cores on one batch wait for each other at every layer, and both while the next
one is formed. A compute thread forms its next batch itself, so that no event loop stands between two.
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
import onnxruntime
from numpy.typing import NDArray

from ..errors import ArtifactError, BackendUnavailable, DeadlineExceeded, EmpatheticError, InternalError
from ..metrics import Metrics
from ..settings import Settings
from .batch_queue import BatchQueue, QueuedText, Ticket
from .manifest import Manifest
from .protocols import Classification, Priority
from .window_tokenizer import WindowTokenizer

logger = logging.getLogger(__name__)

_Scores = tuple[NDArray[np.float32], NDArray[np.float32]]  # probabilities (rows, labels), embeddings (rows, hidden size)


@dataclass(eq=False, slots=True)
class _Request:
    """One `classify` call while its texts are under way; touched by the event loop, and by compute threads for their own rows."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    ids: list[NDArray[np.int64]]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    left: int
    compute_s: float = 0.0  # in which one of its batches at least was computed
    batches: int = 0  # that are computed now
    since: float = 0.0
    queued_at: float = field(default_factory=time.perf_counter)


class EmbeddedClassifier:
    """Classifies on this machine's CPU.

    Args:
        manifest: the verified artifact.
        threads: cores to compute on, each on batches of its own.
        max_batch_tokens: tokens in a batch, padding included.
        max_queued_texts: texts of one priority that may wait.
        metrics: where stages, batches and queue are recorded.

    Raises:
        ArtifactError: ONNX Runtime or `tokenizers` cannot load the files, or the tensors are not the manifest's.
    """

    name = "embedded"

    def __init__(self, manifest: Manifest, *, threads: int, max_batch_tokens: int, max_queued_texts: int, metrics: Metrics) -> None:
        self.labels = manifest.labels
        self.thresholds = manifest.thresholds
        self.model_version = manifest.model_version
        self._pad_id = manifest.pad_id
        self._metrics = metrics
        self._tokenizer = WindowTokenizer(manifest)
        self._hidden_size = manifest.hidden_size
        self._session = _load_session(manifest)
        self._queue: BatchQueue[_Request] = BatchQueue(max_queued_texts, max_batch_tokens, on_drop=metrics.dropped_texts.inc)
        for priority, gauge in metrics.queued_texts.items():
            gauge.set_function(partial(self._queue.waiting, priority))
        self._compute = [threading.Thread(target=self._compute_forever, name=f"compute {core}", daemon=True) for core in range(threads)]
        self._counting = threading.Lock()  # two threads may finish batches of one request at once
        self._closed = False
        for thread in self._compute:
            thread.start()

    async def open(self) -> None:
        """Do nothing: it is in this process."""

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        """Score texts; see `EmotionClassifier`."""
        if self._closed:
            raise BackendUnavailable("the classifier is shutting down", retry_after_s=1)
        started = time.perf_counter()
        deadline = time.monotonic() + timeout_s
        loop = asyncio.get_running_loop()
        late = DeadlineExceeded(f"no answer within the deadline of {round(timeout_s * 1000)} ms")
        try:
            ids, truncated = await self._tokenizer.tokenize(texts, timeout_s)
        except asyncio.TimeoutError as exc:  # on Python 3.10 it is not yet the built-in TimeoutError
            raise late from exc
        tokenized = time.perf_counter()
        probabilities = np.empty((len(ids), len(self.labels)), np.float32)
        embeddings = np.empty((len(ids), self._hidden_size), np.float32)
        request = _Request(loop, loop.create_future(), ids, probabilities, embeddings, len(ids))
        ticket = Ticket(request, [len(row) for row in ids], priority)
        self._queue.put(ticket)
        try:
            await asyncio.wait_for(request.future, deadline - time.monotonic())
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

    def ready(self) -> bool:
        """Whether the compute threads run."""
        return not self._closed and all(thread.is_alive() for thread in self._compute)

    async def aclose(self) -> None:
        """Stop after the batches that are computing; requests that wait are refused."""
        self._closed = True
        for ticket in self._queue.close():
            _settle(ticket.payload, BackendUnavailable("the classifier is shutting down", retry_after_s=1))
        for thread in self._compute:
            await asyncio.to_thread(thread.join)
        self._tokenizer.close()

    def _compute_forever(self) -> None:
        while batch := self._queue.take():
            self._compute_batch(batch)

    def _compute_batch(self, batch: list[QueuedText[_Request]]) -> None:
        started = time.perf_counter()
        requests = list(dict.fromkeys(text.ticket.payload for text in batch))
        self._count_batch(requests, started, 1)
        ids, mask = self._pad(batch)
        padded = time.perf_counter()
        outcome: _Scores | Exception
        try:
            outcome = self._run(ids, mask)
        except Exception as exc:  # whatever the library raises, the batch's other texts must be answered
            outcome = exc
        finished = time.perf_counter()
        self._count_batch(requests, finished, -1)
        self._queue.computed(len(batch), (finished - padded) / len(self._compute))
        if isinstance(outcome, Exception) or not np.isfinite(outcome[0]).all():
            if len(batch) > 1:
                logger.warning("a batch of %d texts failed; each is tried alone", len(batch), exc_info=_as_info(outcome))
                for text in batch:
                    self._compute_batch([text])
                return
            logger.error("the model failed on one text", exc_info=_as_info(outcome))
            error = InternalError(f"the model failed on input[{batch[0].index}]")
            _call_soon(batch[0].ticket.payload, _settle, batch[0].ticket.payload, error)
            return
        self._metrics.batch_seconds.observe(padded - started)
        self._metrics.compute_seconds.observe(finished - padded)
        self._metrics.batch_texts.observe(len(batch))
        self._metrics.batch_padding_ratio.observe(1.0 - sum(text.length for text in batch) / ids.size)
        self._deliver(batch, outcome)

    def _count_batch(self, requests: Sequence[_Request], now: float, change: int) -> None:
        """Note that a batch with texts of these requests begins (1) or ends (-1)."""
        with self._counting:
            for request in requests:
                if request.batches:
                    request.compute_s += now - request.since
                request.batches += change
                request.since = now

    def _pad(self, batch: list[QueuedText[_Request]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        shape = (len(batch), batch[0].length)  # longest first
        ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, text in enumerate(batch):
            ids[row, : text.length] = text.ticket.payload.ids[text.index]
            mask[row, : text.length] = 1
        return ids, mask

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> _Scores:
        """Return probabilities (rows, labels) and embeddings (rows, hidden size)."""
        logits, embeddings = self._session.run(["logits", "embedding"], {"input_ids": ids, "attention_mask": mask})
        probabilities: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        return probabilities, embeddings

    def _deliver(self, batch: list[QueuedText[_Request]], scores: _Scores) -> None:
        """Write the rows into their requests, and finish on the event loop those that are complete."""
        touched: dict[_Request, int] = {}
        for text, probabilities, embedding in zip(batch, *scores, strict=True):
            request = text.ticket.payload
            request.probabilities[text.index] = probabilities
            request.embeddings[text.index] = embedding
            touched[request] = touched.get(request, 0) + 1
        with self._counting:
            for request, count in touched.items():
                request.left -= count
                if request.left == 0:
                    _call_soon(request, _settle, request, None)


def load_embedded(manifest: Manifest, settings: Settings, metrics: Metrics) -> EmbeddedClassifier:
    """Load a verified model.

    Raises:
        ArtifactError: it is not loadable.
    """
    return EmbeddedClassifier(
        manifest,
        threads=settings.threads,
        max_batch_tokens=settings.max_batch_tokens,
        max_queued_texts=settings.max_queued_texts,
        metrics=metrics,
    )


def _settle(request: _Request, error: EmpatheticError | None) -> None:
    """Finish a request's future, on its event loop; a second outcome is ignored."""
    if request.future.done():
        return
    if error is None:
        request.future.set_result(None)
    else:
        request.future.set_exception(error)


def _call_soon(request: _Request, *call: object) -> None:
    """Schedule on the request's loop; a loop that is closed has nobody left to answer."""
    if not request.loop.is_closed():
        request.loop.call_soon_threadsafe(*call)  # type: ignore[arg-type]  # a callable and its arguments


def _as_info(outcome: object) -> BaseException | None:
    return outcome if isinstance(outcome, BaseException) else None


def _load_session(manifest: Manifest) -> onnxruntime.InferenceSession:
    """Return a session for any number of threads: each computes in the thread that calls it, on shared weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(manifest.model_path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's exceptions share no public root
        raise ArtifactError(f"{manifest.model_path}: {' '.join(str(exc).split())}; export again with `make export`") from exc
    inputs = sorted(tensor.name for tensor in session.get_inputs())
    outputs = {tensor.name: tensor.shape[-1] for tensor in session.get_outputs()}
    if inputs != ["attention_mask", "input_ids"] or outputs != {"logits": len(manifest.labels), "embedding": manifest.hidden_size}:
        raise ArtifactError(
            f"{manifest.model_path}: needs inputs input_ids and attention_mask and {len(manifest.labels)} logits "
            f"and {manifest.hidden_size} numbers of embedding; export again with `make export`"
        )
    return session
