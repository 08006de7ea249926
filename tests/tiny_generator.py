"""A real onnxruntime-genai model directory of a few kilobytes that always says one sentence, built in code.

The model is a table: the logits of a token are a row of it. It has the key and value tensors that the engine needs, all zeros.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPOKEN = "I'm sorry to hear that."
CONTEXT_TOKENS = 512
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_generator(directory: Path, *, context_tokens: int = CONTEXT_TOKENS) -> Path:
    """Write the model; after the prompt's last line feed it says SPOKEN and ends.

    The server's instructions are long in its vocabulary of letters: only 8,192 tokens of context hold them.
    """
    directory.mkdir(parents=True)
    tokenizer = _build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "Qwen2Tokenizer", "chat_template": _TEMPLATE, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
        )
    )
    table = np.zeros((tokenizer.get_vocab_size(),) * 2, np.float32)
    chain = [*tokenizer.encode(f"\n{SPOKEN}").ids, tokenizer.token_to_id("<|im_end|>")]
    for token, following in pairwise(chain):
        table[token, following] = 50.0
    onnx.save(_build_model(table), directory / "model.onnx")
    (directory / "genai_config.json").write_text(json.dumps(_config(len(table), context_tokens)))
    return directory


def _build_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([f"{SPOKEN}\n assistant user system"] * 5, trainer)
    return tokenizer


def _build_model(table: np.ndarray) -> onnx.ModelProto:
    def constant(name: str, value: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array([value], np.int64), name)

    def cache(name: str, length: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, length, 4])

    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["logits"]),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Concat", ["batch", "one", "length", "four"], ["fresh_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["fresh_shape"], ["fresh"], value=numpy_helper.from_array(np.zeros(1, np.float32))),
        helper.make_node("Concat", ["past_key_values.0.key", "fresh"], ["present.0.key"], axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "fresh"], ["present.0.value"], axis=2),
    ]
    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", size])
        for name, size in (("input_ids", "new"), ("attention_mask", "all"))
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "new", len(table)])
    graph = helper.make_graph(
        nodes,
        "table",
        [*tokens, cache("past_key_values.0.key", "past"), cache("past_key_values.0.value", "past")],
        [logits, cache("present.0.key", "all"), cache("present.0.value", "all")],
        [numpy_helper.from_array(table, "table"), constant("zero", 0), constant("one", 1), constant("four", 4)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _config(vocabulary: int, context_tokens: int) -> dict[str, object]:
    decoder = {
        "session_options": {"provider_options": []},
        "filename": "model.onnx",
        "head_size": 4,
        "hidden_size": 4,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "num_hidden_layers": 1,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"},
    }
    model = {"bos_token_id": 0, "eos_token_id": [2], "pad_token_id": 0, "context_length": context_tokens, "vocab_size": vocabulary}
    return {"model": {**model, "type": "llama", "decoder": decoder}, "search": {"past_present_share_buffer": False}}
