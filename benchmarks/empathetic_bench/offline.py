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
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from .samples import Round

TARGETS = ("onnxruntime", "pytorch", "pipeline")
MAX_LENGTH = 128
# MiniLM-L6's shape (its config.json), which the committed model has.
_SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "num_labels": 28}


class Target(NamedTuple):
    """A way to score texts, in two steps: texts to items whose `len` is their length, and a batch of items to scores."""

    encode: Callable[[list[str]], list[Any]]
    score: Callable[[list[Any]], Any]

    def __call__(self, texts: list[str]) -> Any:
        """Score texts as one batch."""
        return self.score(self.encode(texts))


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
    target = load_target(arguments.target, arguments.model, arguments.threads, arguments.batch_size)
    json.dump(measure(target, texts, batch_size=arguments.batch_size, sort=arguments.sort).as_dict(), sys.stdout)


def measure(target: Target, texts: list[str], *, batch_size: int, sort: bool) -> Round:
    """Time a target over all texts: encoding and sorting are in the round's time, and not in the latencies of its batches.

    A tenth of the texts goes first as warm-up.
    """
    for start in range(0, max(1, len(texts) // 10), batch_size):
        target(texts[start : start + batch_size])
    started = time.perf_counter()
    items = target.encode(texts)
    if sort:
        items.sort(key=len)
    latencies = []
    for start in range(0, len(items), batch_size):
        before = time.perf_counter()
        target.score(items[start : start + batch_size])
        latencies.append(1000 * (time.perf_counter() - before))
    return Round(len(texts), time.perf_counter() - started, latencies)


def load_target(name: str, model: Path, threads: int, batch_size: int) -> Target:
    """Load one of `TARGETS`."""
    if name == "onnxruntime":
        return onnx_target(model, threads)
    return _torch_target(model, threads, batch_size, pipeline=name == "pipeline")


def tokenizer_of(model: Path) -> Tokenizer:
    """Load the committed tokenizer with the model's window."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    return tokenizer


def onnx_target(model: Path, threads: int) -> Target:
    """Score with ONNX Runtime alone: no server, no queue. The scores are probabilities (texts, labels)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def score(token_ids: list[list[int]]) -> Any:
        ids, mask = pad(token_ids)
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return 1.0 / (1.0 + np.exp(-logits))

    return Target(_encoder(tokenizer_of(model)), score)


def _encoder(tokenizer: Tokenizer) -> Callable[[list[str]], list[Any]]:
    return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def pad(token_ids: list[list[int]], length: int | None = None) -> tuple[Any, Any]:
    """Return ids and mask (texts, `length` or the longest), int64; the padding id of BERT vocabularies is 0."""
    shape = (len(token_ids), length or max(map(len, token_ids)))
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, text in enumerate(token_ids):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask


def _torch_target(model: Path, threads: int, batch_size: int, *, pipeline: bool) -> Target:
    import torch  # noqa: PLC0415  # seconds of imports that the ONNX target must not pay
    import transformers  # noqa: PLC0415  # as above

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = tokenizer_of(model)
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), **_SHAPE)
    classifier = transformers.BertForSequenceClassification(config).eval()
    if pipeline:
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            model_max_length=MAX_LENGTH,
            pad_token="[PAD]",  # noqa: S106  # no password
        )
        # The tutorial's call: every score of every text.
        classify = transformers.pipeline(
            "text-classification", model=classifier, tokenizer=fast, top_k=None, function_to_apply="sigmoid", device="cpu"
        )
        return Target(list, lambda texts: classify(texts, batch_size=batch_size, truncation=True))

    def score(token_ids: list[list[int]]) -> Any:
        ids, mask = pad(token_ids)
        with torch.inference_mode():
            return torch.sigmoid(classifier(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits).numpy()

    return Target(_encoder(tokenizer), score)


if __name__ == "__main__":
    main()
