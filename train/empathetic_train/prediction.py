"""Scores tokenized texts with a trained model. Knows no training and no data but what it is given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from .metrics import sigmoid
from .model import EmotionModel
from .processes import process


class Prediction(NamedTuple):
    """Probabilities (texts, labels) and pooled vectors (texts, hidden), float32."""

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(model: EmotionModel, texts: Dataset, tokenizer: PreTrainedTokenizerBase, *, title: str, batch_size: int = 64) -> Prediction:
    """Score tokenized texts in order of length, so that little is padding."""
    device = process().device
    model.to(device).eval()
    collate = DataCollatorWithPadding(tokenizer)
    columns = texts.select_columns(["input_ids", "attention_mask"])
    order = np.argsort(texts["length"], kind="stable")
    probabilities = np.empty((len(order), model.config.num_labels), dtype=np.float32)
    embeddings = np.empty((len(order), model.config.hidden_size), dtype=np.float32)
    for start in tqdm(range(0, len(order), batch_size), desc=title):
        chosen = order[start : start + batch_size]
        batch = collate([columns[int(row)] for row in chosen])
        with torch.inference_mode():
            outputs = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
        probabilities[chosen] = sigmoid(outputs.logits.float().cpu().numpy())
        embeddings[chosen] = outputs.hidden_states.float().cpu().numpy()
    return Prediction(probabilities, embeddings)
