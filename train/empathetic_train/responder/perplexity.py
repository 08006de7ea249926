"""Measures how well a model foresees the replies of held-out conversations. Knows no file.

Per token: exp of the mean loss over the reply's tokens, its end included. Per word: exp of the same total loss over the number of words,
one more for each reply's end, as published for models trained from scratch (MoEL, MIME, CEM), whose words `wording.words` counts. Two
differences to them remain: they write rare words as one unknown token, which is easier, and the replies here are written well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tqdm.auto import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..processes import process
from .documents import tuning_documents
from .examples import Example
from .packing import IGNORED, pack
from .wording import words


def measure(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], *, title: str, batch_rows: int = 8
) -> dict[str, float]:
    """Return `perplexity_per_token`, `perplexity_per_word` and what they were measured on.

    Each example must fit the model's window with its reply; a context is shortened until it does.
    """
    device = process().device
    model.to(device).eval()
    rows = pack(tuning_documents(examples, tokenizer, model.config.max_position_embeddings), model.config.max_position_embeddings, 0)
    total, tokens = 0.0, rows.learned_tokens
    for start in tqdm(range(0, len(rows), batch_rows), desc=title):
        batch = [rows[index] for index in range(start, min(start + batch_rows, len(rows)))]
        ids, positions, labels = (torch.stack([row[name] for row in batch]).to(device) for name in ("input_ids", "position_ids", "labels"))
        with torch.inference_mode():
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total += float(loss)
    counted = sum(len(words(example.reply)) + 1 for example in examples)
    return {
        "perplexity_per_token": math.exp(total / tokens),
        "perplexity_per_word": math.exp(total / counted),
        "replies": len(examples),
        "tokens": tokens,
        "words": counted,
    }
