"""The embedded engine: ONNX Runtime inside the server process.

Each core computes batches of its own: two cores on one batch wait for each other at every layer, and both while the next one is formed.
Only a batch that is alone, such as one person's message, gets two cores. A compute thread forms its next batch itself, so that no event
loop stands between two.
"""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import ArtifactError, BackendUnavailable
from ..metrics import Metrics
from ..settings import Settings
from .batching import Batch, BatchingClassifier, Scores
from .manifest import Manifest

# Cores on a batch that is alone. More could not be measured: two are what the machines of docs/performance.md have.
_CORES_TOGETHER = 2


class EmbeddedClassifier(BatchingClassifier):
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
        super().__init__(manifest, max_batch_tokens=max_batch_tokens, max_queued_texts=max_queued_texts, metrics=metrics)
        self._sessions = {cores: _load_session(manifest, cores) for cores in {1, min(threads, _CORES_TOGETHER)}}
        self._computing = 0  # batches
        self._compute = [threading.Thread(target=self._compute_forever, name=f"compute {core}", daemon=True) for core in range(threads)]
        for thread in self._compute:
            thread.start()

    async def open(self) -> None:
        """Do nothing: it is in this process."""

    def ready(self) -> bool:
        """Whether the compute threads run."""
        return not self._closed and all(thread.is_alive() for thread in self._compute)

    async def aclose(self) -> None:
        """Stop after the batches that are computing; requests that wait are refused."""
        self._closed = True
        self._refuse(self._queue.close(), BackendUnavailable("the classifier is shutting down", retry_after_s=1))
        for thread in self._compute:
            await asyncio.to_thread(thread.join)
        self._tokenizer.close()

    def _compute_forever(self) -> None:
        while texts := self._queue.take():
            self._compute_batch(texts)

    def _compute_batch(self, texts: Batch) -> None:
        with self._counting:
            is_alone = self._computing == 0 and not self._queue.any_waiting()
            self._computing += 1
        cores = max(self._sessions) if is_alone else 1
        batch = self._begin(texts)
        outcome: Scores | Exception
        try:
            outcome = self._run(batch.ids, batch.mask, cores)
        except Exception as exc:  # whatever the library raises, the batch's other texts must be answered
            outcome = exc
        with self._counting:
            self._computing -= 1
        for text in self._end(batch, outcome, parallel=len(self._compute)):
            self._compute_batch([text])

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], cores: int) -> Scores:
        """Return logits (rows, labels) and embeddings (rows, hidden size), computed on so many cores."""
        logits, embeddings = self._sessions[cores].run(["logits", "embedding"], {"input_ids": ids, "attention_mask": mask})
        return logits, embeddings


def load_embedded(manifest: Manifest, settings: Settings, metrics: Metrics) -> EmbeddedClassifier:
    """Load a verified model.

    Raises:
        ArtifactError: it is not loadable.
    """
    return EmbeddedClassifier(
        manifest,
        threads=settings.threads,
        max_batch_tokens=settings.batch_tokens,
        max_queued_texts=settings.max_queued_texts,
        metrics=metrics,
    )


def _load_session(manifest: Manifest, cores: int) -> onnxruntime.InferenceSession:
    """Return a session that any number of threads may call: each computes in the thread that calls it, and on `cores - 1` others."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.inter_op_num_threads = 1
    # A thread that spins between two layers takes the core from the next text (docs/log.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
