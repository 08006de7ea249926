"""Serve a classifier of the committed model's shape with infinity-emb: a script for the Python of `requirements/infinity.txt`.

Its weights are random: infinity loads only heads on the first token, and speed does not depend on weights. Imports nothing of this
package, which that environment does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
import transformers

# As offline.py has it.
MAX_LENGTH = 128
_SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "num_labels": 28}


def main() -> None:
    """Write the model, and become infinity's server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of the committed model")
    parser.add_argument("--folder", type=Path, required=True, help="gets the model")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    write_model(arguments.tokenizer, arguments.folder)
    flags = ["--engine", "torch", "--device", "cpu", "--log-level", "warning", "--host", "127.0.0.1", "--port", str(arguments.port)]
    os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", INFINITY_ANONYMOUS_USAGE_STATS="0")
    program = str(Path(sys.executable).with_name("infinity_emb"))
    os.execv(program, [program, "v2", "--model-id", str(arguments.folder), *flags])  # noqa: S606  # no shell


def write_model(tokenizer: Path, folder: Path) -> None:
    """Write a stock BERT classifier as `from_pretrained` reads it."""
    torch.manual_seed(0)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), model_max_length=MAX_LENGTH, pad_token="[PAD]")  # noqa: S106  # no password
    fast.save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(fast), problem_type="multi_label_classification", **_SHAPE)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
