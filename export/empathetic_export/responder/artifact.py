"""Writes `models/responder/` whole or not at all: `hf/`, `onnx/`, a manifest in each, and the model card. Knows no conversion."""

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

from ..triton_repository import file_sha256
from .checkpoint import MODEL_FILES, ResponderCheckpoint

NAME = "empathetic-responder"
# The form of the system message that the model was trained with; the server builds its prompt by it.
PROMPT = "note-1"
MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime")


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """Give a directory to fill; it becomes `final` when the block ends, and vanishes when it fails.

    What is there is moved aside and removed only after the new one is in place. A kill between those two renames leaves it as
    `.NAME.old`, which the next call puts back before anything else.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    old = final.parent / f".{final.name}.old"
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{final.name}.partial.", dir=final.parent))
    try:
        staging.chmod(0o755)  # mkdtemp's 0700 would keep a server under another user out
        yield staging
        if final.exists():
            final.rename(old)
        staging.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_hf(checkpoint: ResponderCheckpoint, directory: Path) -> None:
    """Copy what vLLM and transformers read."""
    directory.mkdir()
    for name in MODEL_FILES:
        shutil.copyfile(checkpoint.directory / name, directory / name)


def write_manifest(directory: Path, checkpoint: ResponderCheckpoint, precision: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Write `manifest.json` with the SHA-256 of every file in the directory, as the last of them.

    Args:
        directory: `hf/` or `onnx/`, otherwise complete.
        checkpoint: what it was made of.
        precision: of the weights in it.
        figures: what was measured on held-out replies.
    """
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": NAME,
        "prompt": PROMPT,
        "window": checkpoint.shape.window,
        "precision": precision,
        "parameters": sum(tensor.size for tensor in checkpoint.tensors.values()),
        "files": {path.name: file_sha256(path) for path in sorted(directory.iterdir())},
        "figures": figures,
        "training": {
            **{key: checkpoint.training.get(key) for key in ("config", "versions", "device", "data", "data_sha256", "finished_at")},
            "metrics": checkpoint.metrics,
        },
        "versions": {name: version(name) for name in _PACKAGES},
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest
