"""ONNX to a TensorRT plan where TensorRT is installed; the exact `trtexec` command for its container where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from .errors import ExportError

# Triton 2.51.0, which `make triton` starts, is release 24.10; a plan loads only in the TensorRT release that built it.
CONTAINER = "nvcr.io/nvidia/tensorrt:24.10-py3"
# TensorRT tunes its kernels for each of these lengths; those between are served by the next longer one.
BUCKETS = (16, 32, 64, 128)
_LARGEST_BATCH = 64
_USUAL_BATCH = 32
_INPUTS = ("input_ids", "attention_mask")


def is_available() -> bool:
    """Whether TensorRT can be imported here."""
    return importlib.util.find_spec("tensorrt") is not None


def shapes(max_length: int) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Return (min, opt, max) as (batch, sequence) for each bucket up to the model's window; together they cover every length."""
    lengths = [bucket for bucket in BUCKETS if bucket < max_length] + [max_length]
    shortest = [1, *(length + 1 for length in lengths[:-1])]
    return [((1, low), (_USUAL_BATCH, high), (_LARGEST_BATCH, high)) for low, high in zip(shortest, lengths, strict=True)]


def trtexec_command(max_length: int) -> str:
    """Return a shell script that builds `model.plan` beside `model.onnx` when run in the model's version directory."""
    lines = [
        "#!/bin/sh",
        "# Run in this directory, on the GPU that will serve the plan.",
        f'exec docker run --rm --gpus all -v "$PWD:/model" {CONTAINER} \\',
        "  trtexec --onnx=/model/model.onnx --saveEngine=/model/model.plan --fp16 \\",
    ]
    for number, profile in enumerate(shapes(max_length)):
        named = zip(("min", "opt", "max"), profile, strict=True)
        options = " ".join(f"--{kind}Shapes={','.join(f'{name}:{rows}x{columns}' for name in _INPUTS)}" for kind, (rows, columns) in named)
        lines.append(f"  --profile={number} {options} \\")
    return "\n".join(lines).removesuffix(" \\") + "\n"


def build_plan(onnx_path: Path, plan_path: Path, max_length: int) -> None:  # pragma: no cover  # needs TensorRT and its GPU
    """Build an fp16 plan with one profile per bucket.

    Raises:
        ExportError: TensorRT cannot parse the graph or build the plan.
    """
    import tensorrt  # noqa: PLC0415  # only where it is installed

    log = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(log)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(onnx_path.read_bytes()):
        raise ExportError(f"TensorRT cannot parse the graph: {parser.get_error(0)}")
    settings = builder.create_builder_config()
    settings.set_flag(tensorrt.BuilderFlag.FP16)
    for low, usual, high in shapes(max_length):
        profile = builder.create_optimization_profile()
        for name in _INPUTS:
            profile.set_shape(name, low, usual, high)
        settings.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise ExportError("TensorRT could not build the plan; its log above says why")
    plan_path.write_bytes(plan)
