"""Reads GoEmotions, from local TSV files or from the Hub, into tokenised `datasets`. Knows no model but its tokenizer.

A local copy is `labels.txt`, one label a line, and `train.tsv`, `dev.tsv` and `test.tsv`, whose lines are a text, comma-separated
label ids counted from 0, and optionally a comment id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, load_dataset
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HUB_NAME = "google-research-datasets/go_emotions"
SPLITS = ("train", "dev", "test")
UNLABELLED = "unlabelled"  # a further split, of texts that only teachers have judged
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class EmotionData:
    """The three official splits, with `unlabelled` beside them or not; their label names and a fingerprint of each split."""

    labels: tuple[str, ...]
    texts: dict[str, list[str]]
    targets: dict[str, NDArray[np.float32]]  # (texts, labels), 0 or 1
    sha256: dict[str, str]  # of each split and of the labels

    def repeated(self, split: str) -> int:
        """Count the texts of `split` that also occur in train, letter by letter; they are kept, and reported."""
        seen = set(self.texts["train"])
        return sum(text in seen for text in self.texts[split])

    def tokenized(
        self, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int, *, targets: NDArray[np.float32] | None = None
    ) -> Dataset:
        """Return `input_ids`, `attention_mask`, `length` and `labels`; `targets` replaces the split's own labels."""
        encoded: Any = tokenizer(self.texts[split], truncation=True, max_length=max_length, return_token_type_ids=False)
        return Dataset.from_dict(
            {
                "input_ids": encoded["input_ids"],
                "attention_mask": encoded["attention_mask"],
                "length": [len(ids) for ids in encoded["input_ids"]],
                "labels": (self.targets[split] if targets is None else targets).tolist(),
            }
        )


def read(directory: Path | None) -> EmotionData:
    """Read all splits from `directory`, or from the Hub when it is None.

    Raises:
        DataError: a file, line, label or split is missing or wrong, or the Hub cannot be reached.
    """
    return _from_hub() if directory is None else _from_files(directory)


def with_unlabelled(data: EmotionData, path: Path) -> EmotionData:
    """Add texts without labels, one a line, as the split `unlabelled`; lines of white space are left out.

    Raises:
        DataError: the file is missing, not UTF-8 or without texts.
    """
    content = _read_text(path)
    texts = [line.rstrip("\r") for line in content.split("\n") if line.strip()]
    if not texts:
        raise DataError(f"{path}: the file has no texts")
    return EmotionData(
        data.labels,
        {**data.texts, UNLABELLED: texts},
        {**data.targets, UNLABELLED: np.zeros((len(texts), len(data.labels)), dtype=np.float32)},
        {**data.sha256, UNLABELLED: hashlib.sha256(content.encode()).hexdigest()},
    )


def _from_files(directory: Path) -> EmotionData:
    names = _read_text(directory / "labels.txt")
    labels = tuple(line.strip() for line in names.splitlines() if line.strip())
    if len(set(labels)) != len(labels) or not labels:
        raise DataError(f"{directory / 'labels.txt'}: needs one distinct label a line")
    texts: dict[str, list[str]] = {}
    targets: dict[str, NDArray[np.float32]] = {}
    digests = {"labels": hashlib.sha256(names.encode()).hexdigest()}
    for split in SPLITS:
        path = directory / f"{split}.tsv"
        content = _read_text(path)
        texts[split], targets[split] = _parse(path, content, len(labels))
        digests[split] = hashlib.sha256(content.encode()).hexdigest()
    return EmotionData(labels, texts, targets, digests)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as exc:
        raise DataError(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8") from exc


def _parse(path: Path, content: str, label_count: int) -> tuple[list[str], NDArray[np.float32]]:
    """Parse `text <TAB> id,id,… [<TAB> comment id]` lines; only a line feed ends one, for texts hold other separators."""
    lines = content.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the split is empty")
    texts: list[str] = []
    targets = np.zeros((len(lines), label_count), dtype=np.float32)
    for number, line in enumerate(lines, start=1):
        columns = line.rstrip("\r").split("\t")
        if len(columns) not in (2, 3):
            raise DataError(f"{path}:{number}: expected text, label ids and comment id between tabs, found {len(columns)} columns")
        if not columns[0].strip():
            raise DataError(f"{path}:{number}: the text is empty")
        for label in columns[1].split(","):
            if not label.isdecimal() or int(label) >= label_count:
                raise DataError(f"{path}:{number}: unknown label {label!r}, expected 0 to {label_count - 1}")
            targets[number - 1, int(label)] = 1
        texts.append(columns[0])
    return texts, targets


def _from_hub() -> EmotionData:
    try:
        loaded = load_dataset(HUB_NAME, "simplified")
    except Exception as exc:  # the Hub client raises from several libraries' trees; the user needs one line
        raise DataError(f"cannot load go_emotions from the Hub ({type(exc).__name__}); give a local copy with --data DIR") from exc
    return from_hub_splits(loaded)


def from_hub_splits(loaded: Mapping[str, Any]) -> EmotionData:
    """Convert the Hub's `go_emotions`: splits `train`, `validation` and `test` with the columns `text` and `labels`.

    Raises:
        DataError: a split is missing or empty.
    """
    for name in _HUB_SPLITS.values():
        if name not in loaded or not len(loaded[name]):
            raise DataError(f"go_emotions from the Hub: the split {name!r} is missing or empty")
    labels = tuple(loaded["train"].features["labels"].feature.names)
    texts: dict[str, list[str]] = {}
    targets: dict[str, NDArray[np.float32]] = {}
    digests = {"labels": hashlib.sha256("\n".join(labels).encode()).hexdigest()}
    for split in SPLITS:
        rows = loaded[_HUB_SPLITS[split]]
        texts[split] = list(rows["text"])
        targets[split] = np.zeros((len(rows), len(labels)), dtype=np.float32)
        for row, ids in enumerate(rows["labels"]):
            targets[split][row, ids] = 1
        digests[split] = hashlib.sha256("\n".join(texts[split]).encode() + targets[split].tobytes()).hexdigest()
    return EmotionData(labels, texts, targets, digests)
