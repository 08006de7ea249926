"""Writes `model_repository/emotion_classifier/` whole or not at all, `manifest.json` last, then `emotion_text/`. Knows no conversion."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import triton_repository as triton
from .checkpoint import Checkpoint
from .parity import Parity, Precision
from .to_onnx import OPSET
from .triton_config import Tensor

NAME = triton.CLASSIFIER
SCHEMA_VERSION = 1
_PACKAGES = ("torch", "transformers", "optimum", "onnx", "onnxruntime", "tokenizers")


@contextmanager
def staged(repository: Path, version_number: int) -> Iterator[Path]:
    """Give a directory to fill; it becomes `repository/emotion_classifier` when the block ends, and vanishes when it fails.

    Other versions of the model stay in it, so that a server that still asks Triton for one of them is answered.
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
        for other in final.glob("*/"):
            if other.name.isdigit() and other.name != str(version_number):
                shutil.copytree(other, staging / other.name)
        (staging / str(version_number)).mkdir()
        yield staging
        if final.exists():
            final.rename(old)
        staging.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def finish(directory: Path, checkpoint: Checkpoint, precision: Precision, parity: Parity, *, version_number: int, tensorrt: bool) -> None:
    """Write the tokenizer, Triton's configurations, and at last `manifest.json` with the SHA-256 of what decides the answers."""
    checkpoint.tokenizer.save(str(directory / "tokenizer.json"))
    triton.write_classifier(
        directory,
        labels=len(checkpoint.labels),
        hidden_size=checkpoint.model.config.hidden_size,
        max_length=checkpoint.max_length,
        tensorrt=tensorrt,
    )
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": NAME,
        "version": version_number,
        "labels": list(checkpoint.labels),
        "thresholds": list(checkpoint.thresholds),
        "single_threshold": checkpoint.single_threshold,
        "max_length": checkpoint.max_length,
        "pooling": checkpoint.model.config.pooling,
        "precision": precision,
        "opset": OPSET,
        "embedding_size": checkpoint.model.config.hidden_size,
        "pad_id": checkpoint.pad_id,
        "inputs": [_describe(tensor) for tensor in triton.INPUTS],
        "outputs": [_describe(tensor) for tensor in triton.outputs(len(checkpoint.labels), checkpoint.model.config.hidden_size)],
        "files": {name: triton.file_sha256(directory / name) for name in (f"{version_number}/model.onnx", "tokenizer.json")},
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
