"""Reads and verifies the artifact that `export/` wrote. Knows no inference library.

The keys are those of `manifest.json`, declared here as the reader and in `export/` as the writer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..emotions import VALENCE
from ..errors import ArtifactError

MODEL_NAME = "emotion_classifier"
SCHEMA_VERSION = 1
_REMEDY = "restore it with `git checkout model_repository`, or export again with `make export`"
_INPUTS = ["attention_mask", "input_ids"]
_OUTPUTS = ["embedding", "logits"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the server needs to know of a verified artifact."""

    directory: Path
    version: int
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    max_length: int
    pad_id: int
    precision: str
    model_sha256: str
    hidden_size: int

    @property
    def model_version(self) -> str:
        """The version and the first digits of the SHA-256."""
        return f"{self.version}-{self.model_sha256[:12]}"

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.directory / str(self.version) / "model.onnx"

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer in the `tokenizers` library's format."""
        return self.directory / "tokenizer.json"


def read_manifest(repository: Path) -> Manifest:
    """Read `emotion_classifier/manifest.json` below `repository` and check every file against it.

    Raises:
        ArtifactError: something is missing, changed or unknown; the message is one line and says what to do.
    """
    directory = repository / MODEL_NAME
    path = directory / "manifest.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as exc:
        raise ArtifactError(f"{path}: {exc.strerror}; set EMPATHETIC_MODEL_REPOSITORY, or {_REMEDY}") from exc
    except ValueError as exc:
        raise ArtifactError(f"{path}: not JSON; {_REMEDY}") from exc
    try:
        if fields["schema_version"] != SCHEMA_VERSION:
            raise ArtifactError(f"{path}: schema version {fields['schema_version']}, this server reads {SCHEMA_VERSION}; {_REMEDY}")
        version = int(fields["version"])
        _check_files(directory, fields["files"], f"{version}/model.onnx")
        _check_tensors(path, fields)
        manifest = Manifest(
            directory=directory,
            version=version,
            labels=tuple(fields["labels"]),
            thresholds=tuple(float(threshold) for threshold in fields["thresholds"]),
            max_length=int(fields["max_length"]),
            pad_id=int(fields["pad_id"]),
            precision=str(fields["precision"]),
            model_sha256=str(fields["files"][f"{version}/model.onnx"]),
            hidden_size=_hidden_size(fields["outputs"]),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ArtifactError(f"{path}: {exc!r} is missing or of the wrong type; {_REMEDY}") from exc
    _check_labels(path, manifest)
    return manifest


def _check_files(directory: Path, files: dict[str, str], model: str) -> None:
    for name in (model, "tokenizer.json"):
        if name not in files:
            raise ArtifactError(f"{directory / 'manifest.json'}: no SHA-256 of {name}; {_REMEDY}")
    for name, expected in files.items():
        try:
            digest = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as exc:
            raise ArtifactError(f"{directory / name}: {exc.strerror}; {_REMEDY}") from exc
        if digest != expected:
            raise ArtifactError(f"{directory / name}: changed since the export (SHA-256 differs from manifest.json); {_REMEDY}")


def _check_tensors(path: Path, fields: dict[str, Any]) -> None:
    for key, expected in (("inputs", _INPUTS), ("outputs", _OUTPUTS)):
        names = sorted(tensor["name"] for tensor in fields[key])
        if names != expected:
            raise ArtifactError(f"{path}: {key} are {names}, this server needs {expected}; {_REMEDY}")


def _hidden_size(outputs: list[dict[str, Any]]) -> int:
    return next(int(tensor["shape"][-1]) for tensor in outputs if tensor["name"] == "embedding")


def _check_labels(path: Path, manifest: Manifest) -> None:
    unknown = sorted(set(manifest.labels) - VALENCE.keys())
    if unknown or not manifest.labels:
        raise ArtifactError(f"{path}: labels without a valence: {', '.join(unknown) or 'none given'}; {_REMEDY}")
    if len(manifest.thresholds) != len(manifest.labels) or not all(0 <= threshold <= 1 for threshold in manifest.thresholds):
        raise ArtifactError(f"{path}: needs one threshold between 0 and 1 for each of the {len(manifest.labels)} labels; {_REMEDY}")
