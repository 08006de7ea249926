"""Real texts for calibration and parity, and their batches. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .errors import TextsError


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded token ids and mask (rows, sequence), int64, and which texts the rows are."""

    rows: NDArray[np.intp]
    ids: NDArray[np.int64]
    mask: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Texts and their labels as 0 or 1 (texts, labels)."""

    texts: list[str]
    targets: NDArray[np.bool_]


def read_split(directory: Path, split: str, label_count: int) -> Split:
    """Read GoEmotions' `text <TAB> label ids <TAB> comment id` lines.

    Raises:
        TextsError: the file is missing, or a line is not of that form.
    """
    path = directory / f"{split}.tsv"
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except OSError as exc:
        raise TextsError(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise TextsError(f"{path}: not UTF-8") from exc
    if not lines:
        raise TextsError(f"{path}: the split is empty")
    targets = np.zeros((len(lines), label_count), dtype=bool)
    for row, line in enumerate(lines):
        try:
            targets[row, [int(label) for label in line.split("\t")[1].split(",")]] = True
        except (IndexError, ValueError) as exc:
            raise TextsError(f"{path}:{row + 1}: expected text, label ids below {label_count} and comment id between tabs") from exc
    return Split([line.split("\t")[0] for line in lines], targets)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return token ids, cut to the window as the server cuts them: the closing special token stays."""
    encoded = (encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts)))
    return [ids if len(ids) <= max_length else ids[: max_length - 1] + ids[-1:] for ids in encoded]


def pad(token_ids: Sequence[list[int]], rows: NDArray[np.intp], pad_id: int) -> Batch:
    """Pad the chosen texts to the longest of them."""
    longest = max(len(token_ids[row]) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for position, row in enumerate(rows):
        length = len(token_ids[row])
        ids[position, :length] = token_ids[row]
        mask[position, :length] = 1
    return Batch(rows, ids, mask)


def sorted_batches(token_ids: Sequence[list[int]], size: int, pad_id: int) -> list[Batch]:
    """Cut the texts, in order of length, into batches of at most `size`."""
    order = np.argsort([len(ids) for ids in token_ids], kind="stable")
    return [pad(token_ids, order[start : start + size], pad_id) for start in range(0, len(order), size)]


def unpadded_batches(token_ids: Sequence[list[int]], size: int) -> list[Batch]:
    """Cut the texts into batches of one length each: what is measured on them has no padding in it."""
    lengths = np.array([len(ids) for ids in token_ids])
    groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    return [pad(token_ids, group[start : start + size], 0) for group in groups for start in range(0, len(group), size)]


def random_batches(token_ids: Sequence[list[int]], size: int, pad_id: int, generator: np.random.Generator) -> list[Batch]:
    """Cut the texts, in random order, into batches of random sizes up to `size`: every text gets other neighbors."""
    order = generator.permutation(len(token_ids))
    batches, start = [], 0
    while start < len(order):
        end = start + int(generator.integers(1, size + 1))
        batches.append(pad(token_ids, order[start:end], pad_id))
        start = end
    return batches
