from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.errors import ArtifactError

from tests.server.conftest import engine_arguments
from tests.server.tiny_artifact import LABELS, MAX_LENGTH, build_artifact


def test_a_sound_artifact_is_read(repository: Path) -> None:
    manifest = read_manifest(repository)
    assert manifest.labels == LABELS
    assert manifest.max_length == MAX_LENGTH


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"labels": [*LABELS[:-1], "boredom"]}, "boredom"),
        ({"thresholds": [0.5]}, "one threshold"),
        ({"thresholds": [1.5] * 28}, "one threshold"),
        ({"inputs": [{"name": "input_ids"}]}, "inputs"),
        ({"outputs": [{"name": "logits"}]}, "outputs"),
        ({"files": {}}, "1/model.onnx"),
        ({"max_length": None}, "wrong type"),
    ],
    ids=["schema", "label", "threshold-count", "threshold-range", "input-names", "output-names", "hashes", "type"],
)
def test_a_wrong_manifest_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArtifactError) as refusal:
        read_manifest(build_artifact(tmp_path, **changes))
    message = str(refusal.value)
    assert complaint in message
    assert "make export" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["1/model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    file = build_artifact(tmp_path) / "emotion_classifier" / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="changed since the export"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["1/model.onnx", "tokenizer.json", "manifest.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    (build_artifact(tmp_path) / "emotion_classifier" / name).unlink()
    with pytest.raises(ArtifactError, match="No such file"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (build_artifact(tmp_path) / "emotion_classifier" / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="not JSON"):
        read_manifest(tmp_path)


def test_a_model_with_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    build_artifact(tmp_path, labels=list(LABELS[:-1]), thresholds=[0.5] * 27)
    with pytest.raises(ArtifactError, match="27 logits"):
        EmbeddedClassifier(**engine_arguments(tmp_path))
