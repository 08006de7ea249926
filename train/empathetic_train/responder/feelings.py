"""Finds the feelings in the data's messages with the exported classifier, as the server will, and keeps them between runs.

The scores of a text do not depend on the others in its batch: the kept file holds what the server would find.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from ..checkpoint import write_json
from ..errors import CheckpointError
from .notes import Feelings

logger = logging.getLogger(__name__)

_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class _Classifier:
    session: Any
    tokenizer: Tokenizer
    window: int
    pad_id: int
    labels: tuple[str, ...]
    thresholds: NDArray[np.float32]
    sha256: str


def find_feelings(texts: Sequence[str], *, classifier: Path, cache: Path, threads: int = 0) -> dict[str, Feelings]:
    """Return the feelings of each text.

    Args:
        texts: messages; each is classified once.
        classifier: the exported classifier, `model_repository/emotion_classifier`.
        cache: directory of the kept file, whose name is a digest of texts and classifier.
        threads: processor cores to use; 0 for all.

    Raises:
        CheckpointError: the exported classifier is missing or not one.
    """
    model = _load(classifier, threads)
    distinct = sorted(set(texts))
    digest = hashlib.sha256("\n".join([model.sha256, *distinct]).encode()).hexdigest()
    kept = cache / f"feelings-{digest[:16]}.json"
    found = _read_kept(kept, len(distinct))
    if found is None:
        logger.info("finding the feelings of %d messages", len(distinct))
        found = [_as_row(scores, model) for scores in _classify(model, distinct)]
        cache.mkdir(parents=True, exist_ok=True)
        write_json(kept, found)
    return {text: Feelings(tuple(row[1:]), bool(row[0])) for text, row in zip(distinct, found, strict=True)}


def _load(directory: Path, threads: int) -> _Classifier:
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
        weights = (directory / "1" / "model.onnx").read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        labels = tuple(manifest["labels"])
        return _Classifier(
            onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"]),
            tokenizer,
            int(manifest["max_length"]),
            int(manifest["pad_id"]),
            labels,
            np.array(manifest["thresholds"], np.float32),
            hashlib.sha256(weights + json.dumps(manifest["thresholds"]).encode()).hexdigest(),
        )
    except Exception as exc:  # tokenizers and ONNX Runtime raise outside any tree
        raise CheckpointError(f"{directory}: not an exported classifier ({' '.join(str(exc).split())})") from exc


def _read_kept(path: Path, count: int) -> list[list[Any]] | None:
    """Return what an earlier run found, or None where it kept nothing of use."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return rows if isinstance(rows, list) and len(rows) == count else None


def _as_row(scores: NDArray[np.float32], model: _Classifier) -> list[Any]:
    """Return whether a label reached its threshold, then the labels that did, best first, or the best alone."""
    order = np.argsort(-scores, kind="stable")
    counted = [model.labels[index] for index in order if scores[index] >= model.thresholds[index]]
    return [1, *counted] if counted else [0, model.labels[order[0]]]


def _classify(model: _Classifier, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the probabilities (texts, labels), computed in order of length so that little is padding."""
    ids = [row.ids for row in model.tokenizer.encode_batch_fast(list(texts))]
    ids = [row if len(row) <= model.window else [*row[: model.window - 1], row[-1]] for row in ids]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    scores = np.empty((len(ids), len(model.labels)), np.float32)
    with tqdm(total=len(ids), desc="feelings") as progress:
        while order:
            longest = len(ids[order[-1]])
            batch = [order.pop() for _ in range(min(len(order), max(1, _BATCH_TOKENS // longest)))]
            padded = np.full((len(batch), longest), model.pad_id, np.int64)
            mask = np.zeros_like(padded)
            for row, index in enumerate(batch):
                padded[row, : len(ids[index])] = ids[index]
                mask[row, : len(ids[index])] = 1
            (logits,) = model.session.run(["logits"], {"input_ids": padded, "attention_mask": mask})
            scores[batch] = 0.5 * (1.0 + np.tanh(0.5 * logits))
            progress.update(len(batch))
    return scores
