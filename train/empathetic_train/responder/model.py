"""The responder: a small Llama with one matrix for reading and writing tokens. Knows no data and no training."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..errors import CheckpointError
from .config import HEAD_WIDTH, ResponderConfig

# A longer reply is one that does not end.
_MAX_REPLY_TOKENS = 96


def build(config: ResponderConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build an untrained model; the same seed gives the same weights."""
    torch.manual_seed(config.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.width // HEAD_WIDTH,
            num_key_value_heads=config.key_value_heads,
            head_dim=HEAD_WIDTH,
            max_position_embeddings=config.row_tokens,
            attention_dropout=config.dropout,
            tie_word_embeddings=True,
            use_cache=False,  # with a cache, transformers makes no mask from positions, and packed documents would see each other
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a directory that vLLM and onnxruntime-genai's builder take: bfloat16 weights, tokenizer, template, generation settings.

    The model itself keeps its precision.
    """
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    written = LlamaForCausalLM._from_config(copy.deepcopy(model.config), dtype=torch.bfloat16)
    written.load_state_dict(weights)
    written.config.use_cache = True
    written.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=_MAX_REPLY_TOKENS
    )
    written.save_pretrained(directory, safe_serialization=True)
    tokenizer.save_pretrained(directory, save_jinja_files=False)  # onnxruntime-genai reads the template in tokenizer_config.json


def load(directory: Path) -> LlamaForCausalLM:
    """Read a model's directory, in single precision.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """
    try:
        model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise CheckpointError(f"responder in {directory}: {' '.join(str(exc).split())}") from exc
    model.config.use_cache = False  # as in `build`
    return model
