"""Writes a Llama as the directory that onnxruntime-genai loads: fused operators, weights of few bits. Knows no accuracy.

    ids ─► GatherBlockQuantized ─► each layer (norm ─► MatMulNBits ─► GroupQueryAttention ─► MatMulNBits ─► norm ─► SwiGLU) ─► logits

The library's own builder makes the same graph, but it wants a newer transformers than the classifier's export allows. The matrix that
reads tokens also writes them, so it is in the file once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .checkpoint import ResponderCheckpoint, Shape
from .quantizing import BLOCK, quantize

OPSET = 17
MODEL, CONFIG = "model.onnx", "genai_config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_CONTRIB = "com.microsoft"
_CONTRIB_OPERATORS = {"MatMulNBits", "GatherBlockQuantized"}
_EMBEDDING = "model.embed_tokens"
# Activations in 8 bits per block of one token, so that the products are whole numbers; a token's do not depend on another's.
_ACCURACY_LEVEL = 4


def write_genai(checkpoint: ResponderCheckpoint, bits: int, directory: Path) -> None:
    """Write the graph with weights of 4 or 8 bits, its configuration and the tokenizer into an empty directory."""
    onnx.save(_Graph(checkpoint.shape, checkpoint.tensors, bits).build(), directory / MODEL)
    (directory / CONFIG).write_text(json.dumps(_config(checkpoint.shape), indent=1) + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copyfile(checkpoint.directory / name, directory / name)


class _Graph:
    """Collects nodes and constants; each method returns the name of what it computes."""

    def __init__(self, shape: Shape, tensors: Mapping[str, NDArray[np.float32]], bits: int) -> None:
        self._shape = shape
        self._tensors = tensors
        self._bits = bits
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def build(self) -> onnx.ModelProto:
        shape = self._shape
        self._lengths()
        hidden = self._embed()
        skip = None
        for number in range(shape.layers):
            layer = f"model.layers.{number}"
            normed, skip = self._norm(f"{layer}.input_layernorm", hidden, skip)
            hidden = self._attend(layer, number, normed)
            normed, skip = self._norm(f"{layer}.post_attention_layernorm", hidden, skip)
            hidden = self._feed_forward(layer, normed)
        normed, _ = self._norm("model.norm", hidden, skip)
        self._node("MatMulNBits", [normed, *self._matrix(_EMBEDDING)], "logits", **self._sizes(_EMBEDDING))
        cache = [("past_key_values", "past", "input"), ("present", "all", "output")]
        ends: dict[str, list[Any]] = {
            "input": [
                _info("input_ids", TensorProto.INT64, ["batch", "new"]),
                _info("attention_mask", TensorProto.INT64, ["batch", "all"]),
            ],
            "output": [_info("logits", TensorProto.FLOAT, ["batch", "new", shape.vocabulary])],
        }
        for name, length, end in cache:
            for number in range(shape.layers):
                for part in ("key", "value"):
                    sizes = ["batch", shape.key_value_heads, length, shape.head_width]
                    ends[end].append(_info(f"{name}.{number}.{part}", TensorProto.FLOAT, sizes))
        graph = helper.make_graph(self._nodes, "responder", ends["input"], ends["output"], list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="empathetic-export")

    def _lengths(self) -> None:
        """Compute what the attention wants to know: the tokens of each row before the last one, and of the longest row."""
        self._constant("one", np.array([1], np.int64))
        self._node("ReduceSum", ["attention_mask", "one"], "row_lengths", keepdims=0)
        self._node("Sub", ["row_lengths", "one"], "row_lasts")
        self._node("Cast", ["row_lasts"], "seqlens_k", to=TensorProto.INT32)
        self._node("Shape", ["attention_mask"], "mask_shape")
        self._constant("axis_one", np.array(1, np.int64))
        self._node("Gather", ["mask_shape", "axis_one"], "mask_length")
        self._node("Cast", ["mask_length"], "total_length", to=TensorProto.INT32)
        half = self._shape.head_width // 2
        angles = np.outer(np.arange(self._shape.window), self._shape.rope_base ** (-np.arange(half) / half))
        self._constant("cos", np.cos(angles).astype(np.float32))
        self._constant("sin", np.sin(angles).astype(np.float32))

    def _embed(self) -> str:
        packed, scales, zero_points = self._matrix(_EMBEDDING)
        self._constant("table_shape", np.array([self._shape.vocabulary, -1], np.int64))
        self._node("Reshape", [packed, "table_shape"], "table")
        inputs = ["table", "input_ids", scales, zero_points]
        options = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK, "bits": self._bits}
        return self._node("GatherBlockQuantized", inputs, "embedded", **options)

    def _norm(self, name: str, hidden: str, skip: str | None) -> tuple[str, str]:
        """Return the normed sum of a layer's output and what passed by it, and the sum itself."""
        weight = self._constant(f"{name}.weight", self._tensors[f"{name}.weight"])
        epsilon = self._shape.norm_epsilon
        if skip is None:
            normed = self._node("SimplifiedLayerNormalization", [hidden, weight], f"{name}.normed", epsilon=epsilon, axis=-1)
            return normed, hidden
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        self._nodes.append(
            helper.make_node("SkipSimplifiedLayerNormalization", [hidden, skip, weight], outputs, domain=_CONTRIB, epsilon=epsilon)
        )
        return outputs[0], outputs[3]

    def _attend(self, layer: str, number: int, hidden: str) -> str:
        query, key, value = (self._project(f"{layer}.self_attn.{name}_proj", hidden) for name in ("q", "k", "v"))
        past = [f"past_key_values.{number}.{part}" for part in ("key", "value")]
        attended, *present = f"{layer}.attended", f"present.{number}.key", f"present.{number}.value"
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [query, key, value, *past, "seqlens_k", "total_length", "cos", "sin"],
                [attended, *present],
                domain=_CONTRIB,
                num_heads=self._shape.heads,
                kv_num_heads=self._shape.key_value_heads,
                scale=float(self._shape.head_width**-0.5),
                do_rotary=1,
                rotary_interleaved=0,
            )
        )
        return self._project(f"{layer}.self_attn.o_proj", attended)

    def _feed_forward(self, layer: str, hidden: str) -> str:
        gate, up = (self._project(f"{layer}.mlp.{name}_proj", hidden) for name in ("gate", "up"))
        opened = self._node("Sigmoid", [gate], f"{layer}.sigmoid")
        swish = self._node("Mul", [gate, opened], f"{layer}.swish")
        return self._project(f"{layer}.mlp.down_proj", self._node("Mul", [swish, up], f"{layer}.gated"))

    def _project(self, name: str, hidden: str) -> str:
        return self._node("MatMulNBits", [hidden, *self._matrix(name)], f"{name}.product", **self._sizes(name))

    def _sizes(self, name: str) -> dict[str, int]:
        rows, columns = self._tensors[f"{name}.weight"].shape
        return {"N": rows, "K": columns, "bits": self._bits, "block_size": BLOCK, "accuracy_level": _ACCURACY_LEVEL}

    def _matrix(self, name: str) -> list[str]:
        if f"{name}.packed" not in self._constants:
            blocks = quantize(self._tensors[f"{name}.weight"], self._bits)
            self._constant(f"{name}.packed", blocks.packed)
            self._constant(f"{name}.scales", blocks.scales)
            self._constant(f"{name}.zero_points", blocks.zero_points)
        return [f"{name}.packed", f"{name}.scales", f"{name}.zero_points"]

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        domain = _CONTRIB if operator in _CONTRIB_OPERATORS else ""
        self._nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output


def _info(name: str, kind: int, sizes: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)


def _config(shape: Shape) -> dict[str, Any]:
    decoder = {
        "session_options": {"provider_options": []},
        "filename": MODEL,
        "head_size": shape.head_width,
        "hidden_size": shape.width,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "num_hidden_layers": shape.layers,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"},
    }
    model = {
        "type": "llama",
        "bos_token_id": shape.end_id,  # the library wants one; the template writes none
        "eos_token_id": [shape.end_id],
        "pad_token_id": shape.pad_id,
        "context_length": shape.window,
        "vocab_size": shape.vocabulary,
        "decoder": decoder,
    }
    return {"model": model, "search": {"max_length": shape.window, "past_present_share_buffer": True}}
