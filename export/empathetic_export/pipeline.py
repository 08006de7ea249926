"""The export as a whole: read, convert, compare, write. Knows no command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from . import to_tensorrt
from .artifact import finish, staged
from .checkpoint import Checkpoint, read_checkpoint
from .errors import ExportError
from .parity import TOLERANCES, Parity, Precision, Scorer, compare, require
from .texts import Batch, read_split, tokenize, unpadded_batches
from .to_fp16 import to_fp16
from .to_int8 import calibrate, to_int8
from .to_onnx import fuse, to_onnx
from .triton_repository import write_text_model

# Texts of the training split whose activations set the int8 ranges.
_CALIBRATION_TEXTS = 1024
_CALIBRATION_BATCH = 32


def export(
    checkpoint_dir: Path,
    *,
    data: Path,
    repository: Path,
    precision: Precision,
    scratch: Path,
    tensorrt: bool = False,
    version_number: int = 1,
) -> Parity:
    """Export a checkpoint into `repository`.

    Args:
        checkpoint_dir: what `empathetic-train` finished.
        data: GoEmotions' TSV files.
        repository: the model repository to write into.
        precision: of the ONNX file.
        scratch: an empty directory for intermediate files.
        tensorrt: also write TensorRT's plan, or the command that builds it, and its configuration.
        version_number: of the model in Triton; the other versions in the repository stay.

    Raises:
        ExportError: the input is wrong, or the export is not faithful; nothing has been written.
    """
    if tensorrt and precision != "fp32":
        raise ExportError("TensorRT's fp16 plan is built from --precision fp32")
    checkpoint = read_checkpoint(checkpoint_dir)
    dev = read_split(data, "dev", len(checkpoint.labels))
    model = _convert(checkpoint, data, precision, scratch, tensorrt=tensorrt)
    parity = compare(checkpoint, dev, scorer(model))
    require(parity, TOLERANCES[precision])
    with staged(repository, version_number) as directory:
        version = directory / str(version_number)
        onnx.save(model, version / "model.onnx")
        if tensorrt:
            if to_tensorrt.is_available():  # pragma: no cover  # needs TensorRT and its GPU
                to_tensorrt.build_plan(version / "model.onnx", version / "model.plan", checkpoint.max_length)
            else:
                (version / "build_plan.sh").write_text(to_tensorrt.trtexec_command(checkpoint.max_length), encoding="utf-8")
        finish(directory, checkpoint, precision, parity, version_number=version_number, tensorrt=tensorrt)
    write_text_model(repository, labels=len(checkpoint.labels))
    return parity


def scorer(model: onnx.ModelProto) -> Scorer:
    """Run a graph with ONNX Runtime on the CPU, or on the GPU where its build has one."""
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)

    def score(batch: Batch) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(["logits"], {"input_ids": batch.ids, "attention_mask": batch.mask})[0]
        scores: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        return scores

    return score


def _convert(checkpoint: Checkpoint, data: Path, precision: Precision, scratch: Path, *, tensorrt: bool) -> onnx.ModelProto:
    traced = scratch / "traced.onnx"
    to_onnx(checkpoint, traced)
    if precision == "fp16":
        return to_fp16(onnx.load(traced))
    if tensorrt:
        return onnx.load(traced)  # TensorRT knows none of ONNX Runtime's fused operators
    fused = fuse(traced, checkpoint)
    if precision == "fp32":
        return fused
    train = read_split(data, "train", len(checkpoint.labels)).texts
    drawn = np.random.default_rng(0).permutation(len(train))[:_CALIBRATION_TEXTS]
    token_ids = tokenize(checkpoint.tokenizer, [train[index] for index in drawn], checkpoint.max_length)
    return to_int8(fused, calibrate(fused, unpadded_batches(token_ids, _CALIBRATION_BATCH)))
