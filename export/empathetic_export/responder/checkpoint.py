"""Reads a responder that `empathetic-train responder` finished. Knows no export format.

The files are the contract with `train/`, which is not imported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from ..errors import CheckpointError

# What vLLM and transformers read; `hf/` is a copy of them.
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Llama."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    window: int
    rope_base: float
    norm_epsilon: float
    end_id: int
    pad_id: int


@dataclass(frozen=True, slots=True)
class ResponderCheckpoint:
    """A trained responder: its sizes, weights in single precision by the names of transformers, tokenizer and records."""

    directory: Path
    shape: Shape
    tensors: dict[str, NDArray[np.float32]]
    tokenizer: PreTrainedTokenizerFast
    metrics: dict[str, Any]
    training: dict[str, Any]

    def model(self) -> LlamaForCausalLM:
        """Return the model in PyTorch: bfloat16 weights, computed with in single precision."""
        model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(self.directory, dtype=torch.float32, local_files_only=True)
        model.train(False)
        return model


def read_responder(directory: Path) -> ResponderCheckpoint:
    """Read a finished responder.

    Raises:
        CheckpointError: it is unfinished, a file is missing, or it is not a model that can be exported.
    """
    for name in ("training.json", "metrics.json", *MODEL_FILES):
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory}: no {name}: not a responder, or its training has not finished")
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        if (
            config.model_type != "llama"
            or not config.tie_word_embeddings
            or config.rope_scaling
            or config.attention_bias
            or config.mlp_bias
        ):
            raise CheckpointError(f"{directory / 'config.json'}: not a Llama with tied embeddings and without biases or scaled positions")
        tensors = {name: tensor.float().numpy() for name, tensor in load_file(directory / "model.safetensors").items()}
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        if not tokenizer.chat_template:
            raise CheckpointError(f"{directory / 'tokenizer_config.json'}: holds no chat template")
        return ResponderCheckpoint(
            directory=directory,
            shape=Shape(
                vocabulary=config.vocab_size,
                width=config.hidden_size,
                layers=config.num_hidden_layers,
                heads=config.num_attention_heads,
                key_value_heads=config.num_key_value_heads,
                head_width=config.head_dim,
                window=config.max_position_embeddings,
                rope_base=config.rope_theta,
                norm_epsilon=config.rms_norm_eps,
                end_id=int(config.eos_token_id),
                pad_id=int(config.pad_token_id),
            ),
            tensors=tensors,
            tokenizer=tokenizer,
            metrics=json.loads((directory / "metrics.json").read_text(encoding="utf-8")),
            training=json.loads((directory / "training.json").read_text(encoding="utf-8")),
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as exc:
        raise CheckpointError(f"{directory}: {type(exc).__name__}: {' '.join(str(exc).split())[:300]}") from exc
