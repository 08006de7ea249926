"""Asks the teachers, and builds the training set that follows them. Knows no optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from . import model as emotion_model
from .config import TrainConfig
from .errors import ConfigError
from .goemotions import UNLABELLED, EmotionData
from .prediction import predict
from .processes import process


class TrainingSet(NamedTuple):
    """Tokenized texts with their targets, and the pooled vectors that the model should give them (rows, hidden), if any.

    A column `row` says which vector is a text's.
    """

    rows: Dataset
    embeddings: NDArray[np.float32] | None


def training_set(config: TrainConfig, data: EmotionData, tokenizer: PreTrainedTokenizerBase, work_dir: Path) -> TrainingSet:
    """Mix labels and teachers on the training texts; on unlabelled texts the teachers are alone.

    Raises:
        ConfigError: a teacher was trained on other labels.
        CheckpointError: a teacher cannot be used.
    """
    parts, embeddings = [], []
    for split in ("train", UNLABELLED):
        if split not in data.texts:
            continue
        targets = data.targets[split]
        if config.teachers:
            probabilities, vectors = _ask(config, data, split, work_dir)
            share = config.distill_weight if split == "train" else 1.0
            targets = (1 - share) * targets + share * probabilities
            embeddings.append(vectors)
        parts.append(data.tokenized(split, tokenizer, config.max_length, targets=targets))
    rows = concatenate_datasets(parts)
    if not config.embedding_weight:
        return TrainingSet(rows, None)
    return TrainingSet(rows.add_column("row", list(range(len(rows)))), np.concatenate(embeddings))


def _ask(config: TrainConfig, data: EmotionData, split: str, work_dir: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the teachers' mean probabilities and mean pooled vectors.

    Computed by one process, and kept for the others and for a resumed run.
    """
    state, kept = process(), work_dir / f"teachers-{split}.npz"
    if state.is_main_process and not kept.exists():
        answers = []
        for directory in config.teachers:
            teacher = emotion_model.load(Path(directory))
            if emotion_model.labels_of(teacher) != data.labels:
                raise ConfigError(f"teachers: {directory} was trained on other labels than the data's")
            tokenizer = emotion_model.load_tokenizer(directory)
            rows = data.tokenized(split, tokenizer, config.max_length)
            answers.append(predict(teacher, rows, tokenizer, title=f"teacher {directory}, {split}"))
        partial = kept.with_suffix(".partial.npz")
        np.savez(
            partial,
            probabilities=np.mean([answer.probabilities for answer in answers], axis=0),
            embeddings=np.mean([answer.embeddings for answer in answers], axis=0),
        )
        partial.replace(kept)
    state.wait_for_everyone()
    with np.load(kept) as answer:
        return answer["probabilities"], answer["embeddings"]
