"""Writes `model_repository/emotion_classifier/` whole or not at all, `manifest.json` last. Knows no conversion."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .parity import Parity, Precision
from .to_onnx import OPSET
from .triton_config import Backend, Tensor, TritonConfig

NAME = "emotion_classifier"
SCHEMA_VERSION = 1
_PACKAGES = ("torch", "transformers", "optimum", "onnx", "onnxruntime", "tokenizers")


@contextmanager
def staged(repository: Path) -> Iterator[Path]:
    """Give a directory to fill; it becomes `repository/emotion_classifier` when the block ends, and vanishes when it fails.

    An artifact that is there is moved aside and removed only after the new one is in place. A kill between those two renames
    leaves the old one as `.emotion_classifier.old`, which the next call puts back before anything else.
    """
    repository.mkdir(parents=True, exist_ok=True)
    final, old = repository / NAME, repository / f".{NAME}.old"
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{NAME}.", dir=repository))
    try:
        staging.chmod(0o755)  # mkdtemp's 0700 would keep a server under another user out
        yield staging
        if final.exists():
            final.rename(old)
        staging.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def triton_config(checkpoint: Checkpoint, backend: Backend) -> TritonConfig:
    """Describe the model to Triton."""
    return TritonConfig(
        name=NAME,
        backend=backend,
        inputs=(Tensor("input_ids", "INT64", (-1,)), Tensor("attention_mask", "INT64", (-1,))),
        outputs=(
            Tensor("logits", "FP32", (len(checkpoint.labels),)),
            Tensor("embedding", "FP32", (checkpoint.model.config.hidden_size,)),
        ),
        warmup_lengths=tuple(length for length in (16, 128) if length <= checkpoint.max_length),
    )


def finish(directory: Path, checkpoint: Checkpoint, precision: Precision, backend: Backend, parity: Parity) -> None:
    """Write the tokenizer, `config.pbtxt`, and at last `manifest.json` with the SHA-256 of every other file."""
    checkpoint.tokenizer.save(str(directory / "tokenizer.json"))
    config = triton_config(checkpoint, backend)
    (directory / "config.pbtxt").write_text(config.to_pbtxt(), encoding="utf-8")
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": NAME,
        "labels": list(checkpoint.labels),
        "thresholds": list(checkpoint.thresholds),
        "single_threshold": checkpoint.single_threshold,
        "max_length": checkpoint.max_length,
        "pooling": checkpoint.model.config.pooling,
        "precision": precision,
        "opset": OPSET,
        "embedding_size": checkpoint.model.config.hidden_size,
        "pad_id": checkpoint.pad_id,
        "inputs": [_describe(tensor) for tensor in config.inputs],
        "outputs": [_describe(tensor) for tensor in config.outputs],
        "files": {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "metrics": checkpoint.metrics,
        "parity": parity.as_dict(),
        "training": {key: checkpoint.training.get(key) for key in ("config", "versions", "data_sha256", "finished_at")},
        "versions": {name: version(name) for name in _PACKAGES},
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    partial = directory / ".manifest.partial"
    partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    partial.replace(directory / "manifest.json")


def _describe(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1, *tensor.dims]}
