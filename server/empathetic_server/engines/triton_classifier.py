"""The classifier behind Triton: batches formed here go out over gRPC, few at a time.

Triton's own queue would know priorities and deadlines, too, but Triton 2.51 idles with it where lengths are mixed (docs/log.md). So texts
wait in this process, as they do for the embedded engine, and an address gets just as many batches as keep its instances busy.

Several addresses stand in for each other. Each is asked every second whether it serves the model of the manifest; work goes to those that
do, and moves to another one when its own stops answering. Classifying twice does no harm, so that whatever is lost is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from ..errors import ArtifactError, BackendUnavailable, DeadlineExceeded, EmpatheticError
from ..metrics import Metrics
from .batching import Batch, BatchingClassifier, RunningBatch, Scores
from .manifest import MODEL_NAME, Manifest

logger = logging.getLogger(__name__)

# `max_batch_size` of the repository that the export writes.
_MAX_BATCH_TEXTS = 64
# Batches that an address gets beyond those that its instances compute, so that none of them waits for the next one's journey.
_BATCHES_AHEAD = 1
_PROBE_SECONDS = 1.0
# One probe may be late on a busy machine; two in a row are not.
_FAILURES_TO_LEAVE = 2


class _Gone(Exception):
    """An address does not answer, or not for this model."""


class _Rejected(Exception):
    """Triton answered that the model failed on a batch."""


@dataclass(eq=False)
class _Address:
    """One Triton."""

    url: str
    client: InferenceServerClient
    left: asyncio.Event = field(default_factory=asyncio.Event)  # set while it is not used; what waits for its answers is let go
    is_ready: bool = False
    instances: int = 1
    running: int = 0
    failures: int = 0
    complaint: str = ""

    def has_room(self) -> bool:
        return self.is_ready and self.running < self.instances + _BATCHES_AHEAD


class TritonClassifier(BatchingClassifier):
    """Classifies on one Triton or several.

    Args:
        manifest: the verified artifact; Triton must serve the same model.
        addresses: HOST:PORT of each Triton's gRPC.
        max_batch_tokens: tokens in a batch, padding included.
        max_queued_texts: texts of one priority that may wait.
        metrics: where stages, batches, queue and addresses are recorded.

    Raises:
        ArtifactError: the tokenizer cannot be loaded.
    """

    name = "triton"

    def __init__(
        self, manifest: Manifest, *, addresses: Sequence[str], max_batch_tokens: int, max_queued_texts: int, metrics: Metrics
    ) -> None:
        super().__init__(
            manifest,
            max_batch_tokens=max_batch_tokens,
            max_queued_texts=max_queued_texts,
            metrics=metrics,
            max_batch_texts=_MAX_BATCH_TEXTS,
        )
        self._manifest = manifest
        self._urls = tuple(addresses)
        self._addresses: list[_Address] = []
        self._probing: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect to every address; one that is away is waited for while the server runs.

        Raises:
            ArtifactError: an address serves another model.
        """
        for url in self._urls:
            address = _Address(url, InferenceServerClient(url))
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

    def ready(self) -> bool:
        """Whether an address serves the model."""
        return not self._closed and any(address.is_ready for address in self._addresses)

    async def aclose(self) -> None:
        """Let go of what waits, and disconnect."""
        self._closed = True
        self._refuse(self._queue.close(), BackendUnavailable("the classifier is shutting down", retry_after_s=1))
        for task in self._probing:
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)
        addresses, self._addresses = self._addresses, []
        for address in addresses:
            address.left.set()
        await asyncio.gather(*self._sending)
        for address in addresses:
            await address.client.close()
        self._tokenizer.close()

    def _on_arrival(self) -> None:
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send what waits, as far as the addresses have room; refuse it when none is left."""
        if not self.ready():
            self._refuse(self._queue.clear(), BackendUnavailable("no Triton serves the model now", retry_after_s=1))
        while candidates := [address for address in self._addresses if address.has_room()]:
            texts = self._queue.take(wait=False)
            if not texts:
                return
            address = min(candidates, key=lambda candidate: candidate.running)
            address.running += 1
            task = asyncio.create_task(self._send(texts, address))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, texts: Batch, address: _Address) -> None:
        try:
            await self._compute(texts, address)
        finally:
            address.running -= 1
            self._send_waiting()

    async def _compute(self, texts: Batch, address: _Address) -> None:
        batch = self._begin(texts)
        outcome: Scores | Exception
        try:
            outcome = await self._infer(batch, address)
        except Exception as exc:  # whatever the library raises, the batch's texts must be answered
            outcome = exc
        parallel = sum(known.instances for known in self._addresses if known.is_ready)
        for text in self._end(batch, outcome, max(1, parallel)):
            await self._compute([text], address)

    async def _infer(self, batch: RunningBatch, address: _Address) -> Scores:
        """Ask an address, and the next one when it is gone.

        Raises:
            BackendUnavailable: none is left.
            DeadlineExceeded: the last deadline of the batch's requests has passed.
            _Rejected: the model failed on this batch.
        """
        tried: set[_Address] = set()
        candidates = [address]
        while candidates:
            chosen = min(candidates, key=lambda candidate: candidate.running)
            tried.add(chosen)
            try:
                return await self._ask(chosen, batch)
            except _Gone:
                candidates = [other for other in self._addresses if other.is_ready and other not in tried]
        raise BackendUnavailable("no Triton serves the model now", retry_after_s=1)

    async def _ask(self, address: _Address, batch: RunningBatch) -> Scores:
        """Ask one address; its leaving ends the wait."""
        inputs = []
        for name, array in (("input_ids", batch.ids), ("attention_mask", batch.mask)):
            inputs.append(InferInput(name, array.shape, "INT64"))
            inputs[-1].set_data_from_numpy(array)
        asking = asyncio.create_task(
            address.client.infer(
                MODEL_NAME,
                inputs,
                str(self._manifest.version),
                outputs=[InferRequestedOutput("logits"), InferRequestedOutput("embedding")],
                request_id=",".join(dict.fromkeys(request.id for request in batch.requests)),
                client_timeout=max(0.001, max(request.deadline for request in batch.requests) - time.monotonic()),
            )
        )
        leaving = asyncio.create_task(address.left.wait())
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise _Gone
            result = asking.result()
            return result.as_numpy("logits"), result.as_numpy("embedding")
        except InferenceServerException as exc:
            raise self._translated(address, exc) from None
        finally:
            for task in (asking, leaving):
                task.cancel()

    def _translated(self, address: _Address, exc: InferenceServerException) -> EmpatheticError | _Gone | _Rejected:
        """Return what Triton's error means. Its text is not passed on: it may hold what was asked."""
        status = str(exc.status()).removeprefix("StatusCode.")
        if status == "DEADLINE_EXCEEDED":
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
                address.instances = sum(group.count * max(1, len(group.gpus)) for group in served.config.instance_group)
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
            self._send_waiting()
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
        self._send_waiting()
