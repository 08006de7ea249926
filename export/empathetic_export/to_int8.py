"""Fused fp32 graph to int8 with static activation ranges. Knows no checkpoint and no accuracy; parity judges the outcome.

Dynamic quantization takes one activation range over a whole batch, so that a text's answer depends on its neighbors. Here every
range is a constant, calibrated on real tokens alone, and the integer operators are emitted directly:

    MatMul(x, W) + b    → QuantizeLinear(x) · MatMulIntegerToFloat
    Attention(x, W, b)  → QuantizeLinear(x) · QAttention
    Gather(table, ids)  → Gather(int8 rows) · Cast · Mul(Gather(row scales))

Activations are uint8 with a zero point, weights int8 per output channel, both as in Jacob et al. (2018). The output of a layer
norm has a few channels ten times as large as the rest, which would leave the rest a handful of steps: such an activation is
divided by a factor per channel, and the rows of its weights are multiplied by it (SmoothQuant, Xiao et al., 2023).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .texts import Batch

_CONTRIB = "com.microsoft"
# Weights use 7 bits: without VNNI the processor adds two products of 8-bit values in 16 bits, which 8-bit weights overflow.
_WEIGHT_LIMIT = 63
_TABLE_LIMIT = 127
_TINY = float(np.finfo(np.float32).tiny)  # in place of a scale of zero
# A table with fewer rows (positions, token types) saves too little to be worth its error.
_TABLE_ROWS = 1000

# SmoothQuant's alpha: the share of the difficulty that moves from activations to weights. 0.5 is the paper's.
_MIGRATION = 0.5
# Token vectors kept of each activation to choose its range on.
_SAMPLED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Activation:
    """How one tensor is quantized: its range, and the factor per channel it is divided by before, if any."""

    low: float
    high: float
    smoothing: NDArray[np.float32] | None


def calibrate(model: onnx.ModelProto, batches: Sequence[Batch]) -> dict[str, Activation]:
    """Choose the range of every activation that enters a quantized product.

    Args:
        model: the fused fp32 graph.
        batches: calibration texts without padding, whose values would widen the ranges for nothing.
    """
    products = _products(model.graph)
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted({node.input[0] for node in products})
    observed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(observed.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    total = sum(batch.ids.size for batch in batches)
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    largest: dict[str, NDArray[np.float32]] = {}
    for batch in batches:
        for name, value in zip(names, session.run(names, {"input_ids": batch.ids, "attention_mask": batch.mask}), strict=True):
            vectors = value.reshape(-1, value.shape[-1])  # tokens, or relative positions in DeBERTa
            kept[name].append(vectors[generator.random(len(vectors)) < _SAMPLED_TOKENS / total])
            largest[name] = np.maximum(largest.get(name, 0), np.abs(vectors).max(axis=0))
    constants, normalized = _constants(model.graph), _layer_norm_outputs(model.graph)
    activations = {}
    for name in names:
        sample, smoothing = np.concatenate(kept[name]), None
        if name in normalized:
            weights = [numpy_helper.to_array(constants[node.input[1]]) for node in products if node.input[0] == name]
            smoothing = _smoothing(largest[name], np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0))
            sample = sample / smoothing
        activations[name] = Activation(*_best_range(sample), smoothing)
    return activations


def _smoothing(activation: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factor per channel from the largest magnitudes of a channel's activation and weights; its geometric mean is 1."""
    floor = 1e-4  # a dead channel must not get a factor of zero
    factor = np.maximum(activation, floor) ** _MIGRATION / np.maximum(weight, floor) ** (1 - _MIGRATION)
    normalized: NDArray[np.float32] = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
    return normalized


def _best_range(sample: NDArray[np.float32]) -> tuple[float, float]:
    """Return the range around zero whose 255 steps have the least squared error on a sample; rare outliers are clipped."""
    low, high = min(float(sample.min()), 0.0), max(float(sample.max()), 0.0)
    best = (np.inf, low, high)
    for share in np.linspace(0.1, 1.0, 31):
        bound = share * max(-low, high)
        lower, upper = max(low, -bound), min(high, bound)
        scale = max(upper - lower, _TINY) / 255
        zero = round(-lower / scale)
        error = float(np.square((np.clip(np.round(sample / scale) + zero, 0, 255) - zero) * scale - sample).mean())
        best = min(best, (error, lower, upper))
    return best[1], best[2]


def to_int8(model: onnx.ModelProto, activations: Mapping[str, Activation]) -> onnx.ModelProto:
    """Return the graph with its constant products and large tables in int8; `model` is left as it is."""
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    rewriter = _Rewriter(_constants(graph), activations)
    products = {node.output[0] for node in _products(graph)}
    biases = _biases(graph, products)
    added = {bias.output[0] for bias in biases.values()}
    for node in graph.node:
        if node.output[0] in added:
            continue
        if node.output[0] in products:
            rewriter.product(node, biases.get(node.output[0]))
        elif node.op_type == "Gather" and rewriter.is_table(node):
            rewriter.table(node)
        else:
            rewriter.nodes.append(node)
    used = {name for node in rewriter.nodes for name in node.input}
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rewriter.nodes]
    kept = [tensor for tensor in graph.initializer if tensor.name in used] + list(rewriter.initializers.values())
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    if not any(opset.domain == _CONTRIB for opset in quantized.opset_import):
        quantized.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    return quantized


class _Rewriter:
    """Collects the nodes and constants of the new graph."""

    def __init__(self, constants: Mapping[str, onnx.TensorProto], activations: Mapping[str, Activation]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._constants = constants
        self._activations = activations
        self._quantized: dict[str, tuple[str, str, str]] = {}

    def is_table(self, node: onnx.NodeProto) -> bool:
        """Whether a Gather looks up rows of a large float table."""
        table = self._constants.get(node.input[0])
        return table is not None and table.data_type == TensorProto.FLOAT and len(table.dims) == 2 and table.dims[0] >= _TABLE_ROWS

    def product(self, node: onnx.NodeProto, add: onnx.NodeProto | None) -> None:
        """Replace a MatMul and the Add of its bias, or an Attention, by the integer form."""
        value, scale, zero = self._activation(node.input[0])
        weight, weight_scale, weight_zero = self._weight(node)
        if node.op_type == "MatMul":
            inputs = [value, weight, scale, weight_scale, zero, weight_zero]
            if add is not None:
                inputs += [name for name in add.input if name in self._constants]
            outputs = node.output if add is None else add.output
            self.nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, outputs, name=node.name, domain=_CONTRIB))
            return
        inputs = [value, weight, node.input[2], scale, weight_scale, node.input[3], zero, weight_zero]
        integer = helper.make_node("QAttention", inputs, node.output, name=node.name, domain=_CONTRIB)
        known = {"num_heads", "unidirectional", "mask_filter_value", "scale"}
        integer.attribute.extend(attribute for attribute in node.attribute if attribute.name in known)
        self.nodes.append(integer)

    def table(self, node: onnx.NodeProto) -> None:
        """Replace a lookup of float rows by one of int8 rows, each with its own scale."""
        rows: NDArray[np.float32] = numpy_helper.to_array(self._constants[node.input[0]])
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), _TINY) / _TABLE_LIMIT
        name, ids = node.input[0], node.input[1]
        stored = self._constant(f"{name}_int8", np.round(rows / scale).astype(np.int8))
        scales = self._constant(f"{name}_scale", scale.astype(np.float32))
        self.nodes += [
            helper.make_node("Gather", [stored, ids], [f"{name}_rows"]),
            helper.make_node("Cast", [f"{name}_rows"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [scales, ids], [f"{name}_scales"]),
            helper.make_node("Mul", [f"{name}_float", f"{name}_scales"], node.output),
        ]

    def _activation(self, name: str) -> tuple[str, str, str]:
        """Quantize a tensor once, however many products read it; returns its value, scale and zero point."""
        if name not in self._quantized:
            how = self._activations[name]
            source = name
            if how.smoothing is not None:
                source = f"{name}_smooth"
                factor = self._constant(f"{name}_factor", 1 / how.smoothing)
                self.nodes.append(helper.make_node("Mul", [name, factor], [source]))
            scale = max(how.high - how.low, _TINY) / 255
            scale_name = self._constant(f"{name}_scale", np.float32(scale))
            zero_name = self._constant(f"{name}_zero", np.uint8(round(-how.low / scale)))
            self.nodes.append(helper.make_node("QuantizeLinear", [source, scale_name, zero_name], [f"{name}_uint8"]))
            self._quantized[name] = (f"{name}_uint8", scale_name, zero_name)
        return self._quantized[name]

    def _weight(self, node: onnx.NodeProto) -> tuple[str, str, str]:
        """Quantize a product's matrix (inputs, outputs) per output; returns its value, scales and zero points."""
        weight: NDArray[np.float32] = numpy_helper.to_array(self._constants[node.input[1]])
        smoothing = self._activations[node.input[0]].smoothing
        if smoothing is not None:
            weight = weight * smoothing[:, None]
        name = f"{node.output[0]}_weight"  # of the product: two products may read one matrix behind different activations
        scale = np.maximum(np.abs(weight).max(axis=0), _TINY) / _WEIGHT_LIMIT
        value = self._constant(f"{name}_int8", np.round(weight / scale).astype(np.int8))
        scales = self._constant(f"{name}_scale", scale.astype(np.float32))
        return value, scales, self._constant(f"{name}_zero", np.zeros(weight.shape[1], dtype=np.int8))

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _layer_norm_outputs(graph: onnx.GraphProto) -> set[str]:
    return {name for node in graph.node if node.op_type.endswith("LayerNormalization") for name in node.output}


def _products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that multiply an activation with a constant matrix."""
    constants = _constants(graph)
    return [
        node
        for node in graph.node
        if (node.op_type == "MatMul" or (node.op_type == "Attention" and node.domain == _CONTRIB))
        and node.input[1] in constants
        and len(constants[node.input[1]].dims) == 2
        and node.input[0] not in constants
    ]


def _biases(graph: onnx.GraphProto, products: Set[str]) -> dict[str, onnx.NodeProto]:
    """Return, by the output of a MatMul that nothing else reads, the Add of a vector to it."""
    constants = _constants(graph)
    readers = Counter(name for node in graph.node for name in node.input) + Counter(output.name for output in graph.output)
    matrices = {node.output[0] for node in graph.node if node.op_type == "MatMul"} & products
    found = {}
    for node in graph.node:
        if node.op_type == "Add":
            for value, bias in (tuple(node.input), tuple(node.input)[::-1]):
                if value in matrices and readers[value] == 1 and bias in constants and len(constants[bias].dims) == 1:
                    found[value] = node
    return found
