"""The classifier behind Triton: tokens go out over gRPC in shared lengths, so that Triton can batch what several clients send.

    texts ─► tokenizer threads ─► length buckets ─► gRPC ─► Triton's dynamic batcher

Several addresses stand in for each other. Each is asked every second whether it serves the model of the manifest; work goes to those that
do, and moves to another one when its own stops answering. Classifying twice does no harm, so that whatever is lost is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from .. import logs
from ..errors import ArtifactError, BackendUnavailable, DeadlineExceeded, InternalError, Overloaded
from ..metrics import Metrics
from .manifest import MODEL_NAME, Manifest
from .protocols import Classification, Priority
from .window_tokenizer import WindowTokenizer

logger = logging.getLogger(__name__)

# Triton's batcher puts together what has one length. Steps of eight pad the usual text by some three tokens.
_BUCKETS = (8, 16, 24, 32, 40, 48, 56, 64, 96, 128)
# Rows of one request: enough to fill the cores, few enough that a person's message does not wait long behind them.
_MAX_ROWS = 32
_PRIORITIES: dict[Priority, int] = {"interactive": 1, "bulk": 2}
_PROBE_SECONDS = 1.0
# One probe may be late on a busy machine; two in a row are not.
_FAILURES_TO_LEAVE = 2

_Scores = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits (rows, labels), embeddings (rows, hidden size)


class _Gone(Exception):
    """An address does not answer, or not for this model."""


class _Rejected(Exception):
    """Triton answered that the model failed on a request."""


@dataclass(eq=False)
class _Address:
    """One Triton."""

    url: str
    client: InferenceServerClient
    left: asyncio.Event  # set while it is not used; what waits for its answers is let go
    is_ready: bool = False
    running: int = 0
    failures: int = 0
    complaint: str = ""


class TritonClassifier:
    """Classifies on one Triton or several.

    Args:
        manifest: the verified artifact; Triton must serve the same model.
        addresses: HOST:PORT of each Triton's gRPC.
        max_queued_texts: texts of one priority that may wait for an answer.
        metrics: where stages, queue and addresses are recorded.

    Raises:
        ArtifactError: the tokenizer cannot be loaded.
    """

    name = "triton"

    def __init__(self, manifest: Manifest, *, addresses: Sequence[str], max_queued_texts: int, metrics: Metrics) -> None:
        self.labels = manifest.labels
        self.thresholds = manifest.thresholds
        self.model_version = manifest.model_version
        self._manifest = manifest
        self._urls = tuple(addresses)
        self._max_queued_texts = max_queued_texts
        self._metrics = metrics
        self._tokenizer = WindowTokenizer(manifest)
        self._waiting: dict[Priority, int] = {"interactive": 0, "bulk": 0}
        self._addresses: list[_Address] = []
        self._probing: list[asyncio.Task[None]] = []
        self._closed = False

    async def open(self) -> None:
        """Connect to every address; one that is away is waited for while the server runs.

        Raises:
            ArtifactError: an address serves another model.
        """
        for url in self._urls:
            address = _Address(url, InferenceServerClient(url), asyncio.Event())
            address.left.set()
            self._metrics.triton_ready.labels(url).set(0)
            self._addresses.append(address)
        await asyncio.gather(*(self._probe(address) for address in self._addresses))
        for address in self._addresses:
            if address.complaint:
                raise ArtifactError(f"Triton at {address.url}: {address.complaint}; load this server's model_repository there")
            if not address.is_ready:
                logger.warning("Triton at %s does not serve the model yet", address.url)
            self._probing.append(asyncio.create_task(self._probe_forever(address)))

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        """Score texts; see `EmotionClassifier`."""
        if self._closed:
            raise BackendUnavailable("the classifier is shutting down", retry_after_s=1)
        if self._waiting[priority] + len(texts) > max(self._max_queued_texts, len(texts)):
            raise Overloaded("too many texts are waiting", retry_after_s=1)
        self._waiting[priority] += len(texts)
        self._metrics.queued_texts[priority].inc(len(texts))
        try:
            return await asyncio.wait_for(self._classify(texts, priority, time.monotonic() + timeout_s), timeout_s)
        except asyncio.TimeoutError as exc:  # on Python 3.10 it is not yet the built-in TimeoutError
            raise DeadlineExceeded(f"no answer within the deadline of {round(timeout_s * 1000)} ms") from exc
        finally:
            self._waiting[priority] -= len(texts)
            self._metrics.queued_texts[priority].dec(len(texts))

    def ready(self) -> bool:
        """Whether an address serves the model."""
        return not self._closed and any(address.is_ready for address in self._addresses)

    async def aclose(self) -> None:
        """Let go of what waits, and disconnect."""
        self._closed = True
        for task in self._probing:
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)
        addresses, self._addresses = self._addresses, []
        for address in addresses:
            address.left.set()
            await address.client.close()
        self._tokenizer.close()

    async def _classify(self, texts: Sequence[str], priority: Priority, deadline: float) -> Classification:
        started = time.perf_counter()
        ids, truncated = await self._tokenizer.tokenize(texts, deadline - time.monotonic())
        tokenized = time.perf_counter()
        logits = np.empty((len(ids), len(self.labels)), np.float32)
        embeddings = np.empty((len(ids), self._manifest.hidden_size), np.float32)

        async def score(bucket: int, indices: list[int]) -> None:
            try:
                logits[indices], embeddings[indices] = await self._infer(self._pad(bucket, [ids[i] for i in indices]), priority, deadline)
            except _Rejected as exc:
                if len(indices) == 1:
                    raise InternalError(f"the model failed on input[{indices[0]}]") from exc
                for index in indices:
                    await score(bucket, [index])

        chunks = [asyncio.create_task(score(bucket, indices)) for bucket, indices in self._chunks(ids)]
        try:
            await asyncio.gather(*chunks)
        finally:
            for chunk in chunks:
                chunk.cancel()
        finished = time.perf_counter()
        probabilities: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        if not np.isfinite(probabilities).all():
            raise InternalError(f"the model failed on input[{int(np.argmin(np.isfinite(probabilities).all(axis=1)))}]")
        self._metrics.tokenize_seconds.observe(tokenized - started)
        self._metrics.compute_seconds.observe(finished - tokenized)
        self._metrics.classified_texts.inc(len(ids))
        return Classification(
            probabilities=probabilities,
            embeddings=embeddings,
            tokens=tuple(len(row) for row in ids),
            truncated=truncated,
            tokenize_ms=1000 * (tokenized - started),
            queue_ms=0.0,  # Triton's queue is a part of its answer's time, and it does not say which
            compute_ms=1000 * (finished - tokenized),
        )

    def _chunks(self, ids: Sequence[NDArray[np.int64]]) -> list[tuple[int, list[int]]]:
        """Return (length, indices of texts) of each request."""
        by_bucket: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(ids):
            by_bucket[next((bucket for bucket in _BUCKETS if len(row) <= bucket), self._manifest.max_length)].append(index)
        return [
            (min(bucket, self._manifest.max_length), indices[start : start + _MAX_ROWS])
            for bucket, indices in by_bucket.items()
            for start in range(0, len(indices), _MAX_ROWS)
        ]

    def _pad(self, length: int, rows: Sequence[NDArray[np.int64]]) -> list[InferInput]:
        ids = np.full((len(rows), length), self._manifest.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = [InferInput(name, ids.shape, "INT64") for name in ("input_ids", "attention_mask")]
        for tensor, array in zip(inputs, (ids, mask), strict=True):
            tensor.set_data_from_numpy(array)
        return inputs

    async def _infer(self, inputs: list[InferInput], priority: Priority, deadline: float) -> _Scores:
        """Ask the least busy address, and the next one when it is gone.

        Raises:
            BackendUnavailable: none is left.
            _Rejected: the model failed on this request.
        """
        tried: set[_Address] = set()
        while candidates := [address for address in self._addresses if address.is_ready and address not in tried]:
            address = min(candidates, key=lambda candidate: candidate.running)
            tried.add(address)
            try:
                return await self._ask(address, inputs, priority, deadline)
            except _Gone:
                continue
        raise BackendUnavailable("no Triton serves the model now", retry_after_s=1)

    async def _ask(self, address: _Address, inputs: list[InferInput], priority: Priority, deadline: float) -> _Scores:
        """Ask one address; its leaving ends the wait, and so does the caller's: Triton then drops the request."""
        remaining_s = max(0.001, deadline - time.monotonic())
        asking = asyncio.create_task(
            address.client.infer(
                MODEL_NAME,
                inputs,
                str(self._manifest.version),
                outputs=[InferRequestedOutput("logits"), InferRequestedOutput("embedding")],
                request_id=logs.request_id.get(),
                priority=_PRIORITIES[priority],
                timeout=round(remaining_s * 1e6),
                client_timeout=remaining_s,
            )
        )
        leaving = asyncio.create_task(address.left.wait())
        address.running += 1
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise _Gone
            result = asking.result()
            return result.as_numpy("logits"), result.as_numpy("embedding")
        except InferenceServerException as exc:
            raise self._translated(address, exc) from None
        finally:
            address.running -= 1
            for task in (asking, leaving):
                task.cancel()

    def _translated(self, address: _Address, exc: InferenceServerException) -> Exception:
        """Return what Triton's error means. Its text is not passed on: it may hold what was asked."""
        status, message = str(exc.status()).removeprefix("StatusCode."), exc.message()
        if "maximum queue size" in message:
            return Overloaded("Triton's queue is full", retry_after_s=1)
        if status == "DEADLINE_EXCEEDED" or "timeout expired" in message:
            return DeadlineExceeded("no answer from Triton within the deadline")
        if status in ("UNAVAILABLE", "NOT_FOUND", "CANCELLED"):
            self._leave(address, f"gRPC status {status}")
            return _Gone()
        logger.warning("Triton at %s: %s", address.url, status)
        return _Rejected()

    async def _probe_forever(self, address: _Address) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            await self._probe(address)

    async def _probe(self, address: _Address) -> None:
        """Ask an address whether it serves the model, and use or leave it accordingly."""
        version = str(self._manifest.version)
        complaint = ""
        try:
            is_served = await address.client.is_model_ready(MODEL_NAME, version, client_timeout=_PROBE_SECONDS)
            if is_served:
                served = await address.client.get_model_config(MODEL_NAME, version, client_timeout=_PROBE_SECONDS)
                digest = served.config.parameters[f"model_sha256.{version}"].string_value
                if digest != self._manifest.model_sha256:
                    complaint = f"it serves another model (SHA-256 {digest[:12] or 'unknown'}, not {self._manifest.model_sha256[:12]})"
        except InferenceServerException:
            is_served = False
        if is_served and not complaint:
            address.failures = 0
            address.is_ready = True
            address.left.clear()
            self._metrics.triton_ready.labels(address.url).set(1)
        else:
            address.failures += 1
            if address.is_ready and (complaint or address.failures >= _FAILURES_TO_LEAVE):
                self._leave(address, complaint or "it does not answer")
        address.complaint = complaint

    def _leave(self, address: _Address, reason: str) -> None:
        if address.is_ready:
            logger.warning("Triton at %s is not used any more: %s", address.url, reason)
        address.is_ready = False
        address.left.set()
        self._metrics.triton_ready.labels(address.url).set(0)
