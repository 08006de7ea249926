"""Builds a small real artifact in code: a word-level tokenizer and an ONNX model that averages word vectors.

Two words misbehave on purpose: `poison` has NaN in its vector, so its text alone gets no finite score; `crash` has an id
beyond the table, so that ONNX Runtime refuses every batch that holds it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from empathetic_server.emotions import VALENCE
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

LABELS = tuple(VALENCE)
HIDDEN = 16
MAX_LENGTH = 32
WORDS = [f"w{number}" for number in range(100)]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "poison", "crash"]


def build_artifact(repository: Path, **changes: Any) -> Path:
    """Write repository/emotion_classifier/; `changes` replace keys of the manifest. Returns `repository`."""
    directory = repository / "emotion_classifier"
    (directory / "1").mkdir(parents=True)
    _write_tokenizer(directory / "tokenizer.json")
    onnx.save(_model(), directory / "1" / "model.onnx")
    manifest = {
        "schema_version": 1,
        "version": 1,
        "labels": list(LABELS),
        "thresholds": [0.5] * len(LABELS),
        "max_length": MAX_LENGTH,
        "pad_id": 0,
        "precision": "fp32",
        "inputs": [{"name": "input_ids"}, {"name": "attention_mask"}],
        "outputs": [{"name": "logits", "shape": [-1, len(LABELS)]}, {"name": "embedding", "shape": [-1, HIDDEN]}],
        "files": {name: _sha256(directory / name) for name in ("1/model.onnx", "tokenizer.json")},
    }
    (directory / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return repository


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_tokenizer(path: Path) -> None:
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106  # a token of a vocabulary, no password
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(path))


def _model() -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(len(VOCABULARY) - 1, HIDDEN)).astype(np.float32)  # no row for `crash`
    table[VOCABULARY.index("poison")] = np.nan
    head = generator.normal(size=(HIDDEN, len(LABELS))).astype(np.float32)
    weights = {"table": table, "head": head, "axis_last": np.array([2]), "axis_one": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis_last"], ["mask3"]),
        helper.make_node("Mul", ["vectors", "mask3"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axis_one"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis_one"], ["counts"], keepdims=1),
        helper.make_node("Div", ["sums", "counts"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["logits"]),
    ]
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", ids, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
