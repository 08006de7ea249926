"""Offline targets, each run in a process of its own: `python -m empathetic_bench.offline TARGET …` prints one JSON round.

Knows no HTTP. Speed does not depend on the weights: the PyTorch targets use a stock BERT classifier of the committed model's
shape with random weights, since `transformers.pipeline` loads no mean-pooling head.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from .samples import Round

TARGETS = ("onnxruntime", "pytorch", "pipeline")
MAX_LENGTH = 128
# MiniLM-L6's shape (its config.json), which the committed model has.
_SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "num_labels": 28}

Call = Callable[[list[str]], Any]


def main() -> None:
    """Run one round of one target on the texts of a JSON file, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--sort", action="store_true")
    arguments = parser.parse_args()
    texts: list[str] = json.loads(arguments.texts.read_text())
    call = load_target(arguments.target, arguments.model, arguments.threads, arguments.batch_size)
    one = measure(call, texts, batch_size=arguments.batch_size, sort=arguments.sort, model=arguments.model)
    json.dump(one.as_dict(), sys.stdout)


def measure(call: Call, texts: list[str], *, batch_size: int, sort: bool, model: Path) -> Round:
    """Time a target over all texts; sorting is part of the time, a tenth of the texts goes first as warm-up."""
    for start in range(0, max(1, len(texts) // 10), batch_size):
        call(texts[start : start + batch_size])
    started = time.perf_counter()
    if sort:
        encodings = tokenizer_of(model).encode_batch_fast(texts)
        texts = [texts[index] for index in np.argsort([len(encoding) for encoding in encodings], kind="stable")]
    latencies = []
    for start in range(0, len(texts), batch_size):
        before = time.perf_counter()
        call(texts[start : start + batch_size])
        latencies.append(1000 * (time.perf_counter() - before))
    return Round(len(texts), time.perf_counter() - started, latencies)


def load_target(target: str, model: Path, threads: int, batch_size: int) -> Call:
    """Return a function from a batch of texts to scores, tokenization included."""
    if target == "onnxruntime":
        return onnx_call(model, threads)
    return _torch_call(model, threads, batch_size, pipeline=target == "pipeline")


def tokenizer_of(model: Path) -> Tokenizer:
    """Load the committed tokenizer with the model's window."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding()
    return tokenizer


def onnx_call(model: Path, threads: int) -> Call:
    """Return probabilities (texts, labels) of a batch; no server, no queue."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizer_of(model)

    def call(texts: list[str]) -> Any:
        encodings = tokenizer.encode_batch_fast(texts)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return 1.0 / (1.0 + np.exp(-logits))

    return call


def _torch_call(model: Path, threads: int, batch_size: int, *, pipeline: bool) -> Call:
    import torch  # noqa: PLC0415  # seconds of imports that the ONNX target must not pay
    import transformers  # noqa: PLC0415  # as above

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(model / "tokenizer.json"),
        model_max_length=MAX_LENGTH,
        pad_token="[PAD]",  # noqa: S106  # no password
    )
    config = transformers.BertConfig(vocab_size=len(tokenizer), **_SHAPE)
    classifier = transformers.BertForSequenceClassification(config).eval()
    if pipeline:
        # The tutorial's call: every score of every text.
        classify = transformers.pipeline(
            "text-classification", model=classifier, tokenizer=tokenizer, top_k=None, function_to_apply="sigmoid", device="cpu"
        )
        return lambda texts: classify(texts, batch_size=batch_size, truncation=True)

    def call(texts: list[str]) -> Any:
        batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
        with torch.inference_mode():
            return torch.sigmoid(classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits).numpy()

    return call


if __name__ == "__main__":
    main()
