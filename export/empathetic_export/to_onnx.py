"""Checkpoint to ONNX through optimum, and the fused graph of ONNX Runtime's transformer optimizer. Knows no precision but fp32."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from optimum.exporters.onnx import export
from optimum.exporters.onnx.config import TextEncoderOnnxConfig
from optimum.utils import NormalizedTextConfig

from .checkpoint import Checkpoint

# Newest opset that the python, onnxruntime and tensorrt backends of the pinned Triton release all read.
OPSET = 17


class _TwoOutputs(TextEncoderOnnxConfig):  # type: ignore[misc]  # optimum publishes no types
    """Inputs and outputs of the served model, with free batch and sequence axes."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        axes = {0: "batch", 1: "sequence"}
        return {"input_ids": axes, "attention_mask": axes}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {"logits": {0: "batch"}, "embedding": {0: "batch"}}


def to_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Write the fp32 graph as PyTorch traces it."""
    config = _TwoOutputs(checkpoint.model.config, task="text-classification")
    with warnings.catch_warnings():
        # Tracing warns of every shape that becomes data-dependent; parity on mixed shapes is what tells whether one was frozen.
        warnings.simplefilter("ignore")
        logging.getLogger("optimum").setLevel(logging.ERROR)
        export(checkpoint.model, config, path, opset=OPSET)


def fuse(source: Path, checkpoint: Checkpoint) -> onnx.ModelProto:
    """Fuse attention, GELU and layer norms into ONNX Runtime's own operators, where the family's nodes are known to it."""
    options = FusionOptions("bert")
    # On a processor a layer norm fused with what comes before it takes five times as long (docs/log.md); biases go into the int8 products.
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = options.enable_bias_gelu = False
    # Fused embeddings would hide the word table, which int8 stores row by row.
    options.enable_embed_layer_norm = False
    config = checkpoint.model.config
    fused: onnx.ModelProto = optimizer.optimize_model(
        str(source),
        "bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,  # nothing that depends on this machine's processor
        optimization_options=options,
    ).model
    return fused
