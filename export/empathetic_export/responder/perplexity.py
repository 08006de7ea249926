"""How well a model foresees held-out replies: the checkpoint in PyTorch, or an exported graph in ONNX Runtime. Knows no precision.

Per token: exp of the mean loss over the replies' tokens, ends included; per word: exp of the same total loss over the replies' words, one
more for each end, as training measures them. One reply is scored at a time, as it is generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from .checkpoint import ResponderCheckpoint
from .replies import Reply

Logits = Callable[[list[int]], NDArray[np.float32]]


def measure(logits: Logits, replies: Sequence[Reply]) -> dict[str, float]:
    """Return `perplexity_per_token` and `perplexity_per_word`.

    Args:
        logits: from token ids to the logits (tokens, vocabulary) of what follows each.
        replies: what is foreseen.
    """
    loss = math.fsum(_loss(logits(reply.ids[:-1]), reply) for reply in replies)
    return {
        "perplexity_per_token": math.exp(loss / sum(reply.tokens for reply in replies)),
        "perplexity_per_word": math.exp(loss / sum(reply.words for reply in replies)),
    }


def of_checkpoint(checkpoint: ResponderCheckpoint) -> Logits:
    """Compute with PyTorch."""
    model = checkpoint.model()

    def compute(ids: list[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
        return found

    return compute


def of_graph(path: Path, checkpoint: ResponderCheckpoint) -> Logits:
    """Compute with ONNX Runtime on the processor."""
    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = checkpoint.shape
    empty = np.zeros((1, shape.key_value_heads, 0, shape.head_width), np.float32)
    past = {f"past_key_values.{number}.{part}": empty for number in range(shape.layers) for part in ("key", "value")}

    def compute(ids: list[int]) -> NDArray[np.float32]:
        row = np.array([ids], np.int64)
        found: NDArray[np.float32] = session.run(["logits"], {"input_ids": row, "attention_mask": np.ones_like(row), **past})[0][0]
        return found

    return compute


def _loss(logits: NDArray[np.float32], reply: Reply) -> float:
    """Return the negative log-likelihood of the reply's tokens."""
    scores = logits[reply.begins - 1 :].astype(np.float64)
    largest = scores.max(axis=1)
    totals = largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1))
    wanted = scores[np.arange(reply.tokens), reply.ids[reply.begins :]]
    return float((totals - wanted).sum())
