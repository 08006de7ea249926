"""Fp32 graph to fp16 for GPUs; inputs and outputs keep their types. Knows no checkpoint."""

from __future__ import annotations

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the unfused graph.

    Unfused, because the fused operators have no fp16 kernels on a CPU, where parity must be measurable too; ONNX Runtime fuses
    the plain graph itself when it loads it on a GPU.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the float32 number .* will be truncated")  # weights of 1e-8 become the smallest fp16
        converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return converted
