from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from empathetic_export import artifact, pipeline
from empathetic_export.checkpoint import read_checkpoint
from empathetic_export.errors import ExportError, ParityError
from empathetic_export.parity import TOLERANCES, Tolerance
from empathetic_export.to_tensorrt import shapes
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.export.conftest import MAX_LENGTH
from tests.tiny_models import LABELS

FAMILIES = ("bert", "roberta", "deberta")


def export(checkpoint: Path, data: Path, tmp_path: Path, precision: str = "fp32", **options: Any) -> Any:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    repository = tmp_path / "repository"
    parity = pipeline.export(
        checkpoint,
        data=data,
        repository=repository,
        precision=precision,  # type: ignore[arg-type]  # parametrised
        scratch=scratch,
        **options,
    )
    directory = repository / "emotion_classifier"
    return parity, directory, json.loads((directory / "manifest.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_family_is_exported_faithfully_in_every_precision(checkpoint_of, data, tmp_path, family, precision) -> None:  # type: ignore[no-untyped-def]
    parity, directory, manifest = export(checkpoint_of(family), data, tmp_path, precision)
    assert parity.company_difference <= TOLERANCES[precision].company_difference
    assert parity.max_difference <= {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.1}[precision]
    session = onnxruntime.InferenceSession(directory / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([[5, 6, 7]])
    logits, embedding = session.run(["logits", "embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert (logits.shape, logits.dtype, embedding.shape, embedding.dtype) == ((1, 28), np.float32, (1, 32), np.float32)
    assert (manifest["precision"], manifest["labels"], manifest["max_length"]) == (precision, list(LABELS), MAX_LENGTH)


def test_int8_holds_integer_weights_and_is_smaller(checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    sizes = {}
    for precision in ("fp32", "int8"):
        _, directory, _ = export(checkpoint_of("bert"), data, tmp_path, precision)
        sizes[precision] = (directory / "1" / "model.onnx").stat().st_size
    nodes = onnx.load(directory / "1" / "model.onnx").graph.node
    operators = [node.op_type for node in nodes]
    assert (operators.count("QAttention"), operators.count("MatMulIntegerToFloat"), operators.count("DynamicQuantizeLinear")) == (2, 6, 0)
    assert all(len(node.input) == 7 for node in nodes if node.op_type == "MatMulIntegerToFloat")  # the last is the bias
    assert not {"SkipLayerNormalization", "BiasGelu"} & set(operators)  # slow on a processor
    assert sizes["int8"] < sizes["fp32"]


def test_the_manifest_describes_what_decides_the_answers(checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    _, directory, manifest = export(checkpoint_of("bert"), data, tmp_path)
    assert set(manifest["files"]) == {"1/model.onnx", "tokenizer.json"}
    assert manifest["version"] == 1
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
    assert manifest["inputs"] == [
        {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "attention_mask", "datatype": "INT64", "shape": [-1, -1]},
    ]
    assert manifest["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, 28]},
        {"name": "embedding", "datatype": "FP32", "shape": [-1, 32]},
    ]
    assert manifest["thresholds"] == [0.4] * 28
    assert manifest["parity"]["texts"] == 112


@pytest.mark.parametrize("tensorrt", [False, True], ids=["onnx", "tensorrt"])
def test_every_written_configuration_is_one_that_triton_parses(checkpoint_of, data, tmp_path, tensorrt) -> None:  # type: ignore[no-untyped-def]
    _, directory, manifest = export(checkpoint_of("bert"), data, tmp_path, tensorrt=tensorrt)
    expected = {"config": ("python", "model.py"), "onnxruntime": ("onnxruntime", "model.onnx")}
    if tensorrt:
        expected["tensorrt"] = ("tensorrt", "model.plan")
    found = {}
    for path in directory.rglob("*.pbtxt"):
        parsed = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        found[path.stem] = (parsed.backend, parsed.default_model_filename)
        profiles = len(shapes(MAX_LENGTH)) if parsed.backend == "tensorrt" else 0
        assert list(parsed.instance_group[0].profile) == [str(number) for number in range(profiles)]
        assert parsed.parameters["model_sha256.1"].string_value == manifest["files"]["1/model.onnx"]
    assert found == expected
    assert (directory / "1" / "build_plan.sh").exists() == tensorrt
    assert (directory / "1" / "model.py").is_file()
    assert (directory.parent / "emotion_text" / "config.pbtxt").is_file()


def test_a_new_version_leaves_the_old_one_where_it_is(checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    _, directory, old = export(checkpoint_of("bert"), data, tmp_path)
    _, directory, new = export(checkpoint_of("bert"), data, tmp_path, "int8", version_number=2)
    parsed = text_format.Parse((directory / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (new["version"], set(new["files"])) == (2, {"2/model.onnx", "tokenizer.json"})
    assert {name: parsed.parameters[name].string_value for name in parsed.parameters} == {
        "model_sha256.1": old["files"]["1/model.onnx"],
        "model_sha256.2": new["files"]["2/model.onnx"],
    }
    assert parsed.version_policy.latest.num_versions == 2


def test_an_export_over_its_tolerance_writes_nothing(checkpoint_of, data, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(0.0, 0.0, 0.0))
    with pytest.raises(ParityError, match="nothing was written"):
        export(checkpoint_of("bert"), data, tmp_path)
    assert not (tmp_path / "repository").exists()


def test_tensorrt_is_refused_a_graph_that_it_cannot_read(checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ExportError, match="fp32"):
        export(checkpoint_of("bert"), data, tmp_path, "int8", tensorrt=True)


def test_a_failure_while_writing_leaves_the_old_artifact_and_nothing_else(checkpoint_of, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with artifact.staged(tmp_path, 1) as directory:
        (directory / "manifest.json").write_text("old")
    with pytest.raises(OSError, match="disk"):
        fill_and_fail(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["emotion_classifier"]
    assert (tmp_path / "emotion_classifier" / "manifest.json").read_text() == "old"


def fill_and_fail(repository: Path) -> None:
    with artifact.staged(repository, 1) as directory:
        (directory / "manifest.json").write_text("new")
        raise OSError("disk")


def test_a_kill_between_the_two_renames_is_mended_by_the_next_export(tmp_path: Path) -> None:
    with artifact.staged(tmp_path, 1) as directory:
        (directory / "manifest.json").write_text("old")
    (tmp_path / "emotion_classifier").rename(tmp_path / ".emotion_classifier.old")
    with pytest.raises(OSError, match="disk"):
        fill_and_fail(tmp_path)
    assert (tmp_path / "emotion_classifier" / "manifest.json").read_text() == "old"


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("training.json", None, "training has not finished"),
        ("thresholds.json", "{", "not JSON"),
        ("thresholds.json", '{"per_label": {}, "single": 0.5}', "KeyError"),
        ("model.safetensors", "", "checkpoint"),
        ("tokenizer.json", "{}", "tokenizer.json"),
        ("config.json", None, "config.json"),
    ],
    ids=["unfinished", "malformed", "missing-threshold", "weights", "tokenizer", "config"],
)
def test_a_bad_checkpoint_is_named_in_one_line(checkpoint_of, tmp_path, file, content, complaint) -> None:  # type: ignore[no-untyped-def]
    broken = shutil.copytree(checkpoint_of("bert"), tmp_path / "checkpoint")
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_text(content)
    with pytest.raises(ExportError) as refusal:
        read_checkpoint(broken)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
