"""A real Llama of two megabytes that always says one sentence, built in code: for vLLM.

The model is a table. Each token's embedding is a unit vector of its own, attention and feed-forward layers add nothing, and the output
matrix holds the token that follows. What follows the prompt is chosen by the chat template: after a message with LONG in it, the model
says RAMBLING again and again.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPOKEN = "I'm sorry to hear that."
LONG = "story"
RAMBLING = " once upon a time there was rain and wind"
_END, _USER, _SHORT, _ENDLESS = "<|end|>", "<|user|>", "<|reply|>", "<|story|>"
_TEMPLATE = (
    f"{{% for m in messages %}}{_USER}{{{{ m['role'] }}}}: {{{{ m['content'] }}}}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{{{{ '{_ENDLESS}' if '{LONG}' in messages[-1]['content'] else '{_SHORT}' }}}}{{% endif %}}"
)
_WIDTH = 64  # of a head: vLLM's attention has kernels for few widths


def build_llama(directory: Path, *, context_tokens: int = 8192) -> Path:
    """Write the model's directory as `transformers` would."""
    directory.mkdir(parents=True)
    tokenizer = _build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab_size()
    hidden = -(-vocabulary // _WIDTH) * _WIDTH
    following = np.zeros((vocabulary, hidden), np.float32)
    short = [tokenizer.token_to_id(_SHORT), *tokenizer.encode(SPOKEN).ids, tokenizer.token_to_id(_END)]
    rambling = tokenizer.encode(RAMBLING).ids
    for token, successor in (*pairwise(short), *pairwise([tokenizer.token_to_id(_ENDLESS), *rambling, rambling[0]])):
        assert not following[:, token].any(), "a token of a sentence comes twice"
        following[successor, token] = 10.0
    _write_tensors(directory / "model.safetensors", _weights(vocabulary, hidden, following))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": _WIDTH,
        "num_attention_heads": hidden // _WIDTH,
        "num_key_value_heads": 1,
        "head_dim": _WIDTH,
        "num_hidden_layers": 1,
        "vocab_size": vocabulary,
        "max_position_embeddings": context_tokens,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(_END),
        "torch_dtype": "bfloat16",
    }
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": _TEMPLATE, "eos_token": _END, "pad_token": _END}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return directory


def _build_tokenizer() -> Tokenizer:
    """Build a byte-level vocabulary that has the words of both sentences whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True) for text in (_END, _USER, _SHORT, _ENDLESS)]
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([SPOKEN, RAMBLING] * 5, trainer)
    return tokenizer


def _weights(vocabulary: int, hidden: int, following: np.ndarray) -> dict[str, np.ndarray]:
    layer = "model.layers.0."
    zeros = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (_WIDTH, hidden),
        "self_attn.v_proj": (_WIDTH, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (_WIDTH, hidden),
        "mlp.up_proj": (_WIDTH, hidden),
        "mlp.down_proj": (hidden, _WIDTH),
    }
    norms = (f"{layer}input_layernorm", f"{layer}post_attention_layernorm", "model.norm")
    return {
        "model.embed_tokens.weight": np.eye(vocabulary, hidden, dtype=np.float32),
        "lm_head.weight": following,
        **{f"{layer}{name}.weight": np.zeros(shape, np.float32) for name, shape in zeros.items()},
        **{f"{name}.weight": np.ones(hidden, np.float32) for name in norms},
    }


def _write_tensors(file: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write the safetensors format: a header's length, the header, the numbers."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    file.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(tensor.tobytes() for tensor in tensors.values()))
