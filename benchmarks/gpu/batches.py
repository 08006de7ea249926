"""Comments to tokens, in other processes, and tokens to batches of a few fixed shapes. Knows no torch.

    comments ─► processes that tokenize ─► Buckets (padded) or Packer (packed) ─► batches

Shapes are few and fixed because a CUDA graph replays one shape. Workers import this module: it must stay light.
"""

from __future__ import annotations

import csv
import gzip
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]
Encode = Callable[[list[str]], Iterable[list[Ids]]]

# Lengths to which rows are padded: multiples of 8, as the matrix units want them, closer together where most comments are.
LENGTHS = (16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
# Texts of one task of a worker: enough that handing them over costs little, few enough that the first batch is soon full.
_CHUNK = 128
# Where packed texts have fewer tokens than this on average, their rows run out before the token budget does. Rows that stay
# empty cost the attention kernel a little, so they are not many: the Reddit comments have 47 tokens, GoEmotions' texts 19.
_SHORTEST_MEAN = 24

_tokenizer: Tokenizer  # of a worker process


@dataclass(frozen=True, slots=True)
class Batch:
    """Arrays for a model, and which texts they are.

    Attributes:
        order: numbers of the texts; row `n` of the answer is text `order[n]`, further rows are filling.
        tokens: real tokens.
        computed: tokens that the device computes, padding and filling included.
        arrays: padded: ids (rows, length), positions (length), lengths (rows).
            packed: ids, positions, row of each token (tokens), offsets (rows + 1).
    """

    order: list[int]
    tokens: int
    computed: int
    arrays: tuple[NDArray[Any], ...]


class Batching(Protocol):
    """Collects texts into batches."""

    def add(self, number: int, ids: Ids) -> Iterator[Batch]:
        """Take a text; yield what has become full."""

    def flush(self) -> Iterator[Batch]:
        """Yield the rest."""


def comments(file: Path) -> list[str]:
    """Read the column `body` of a CSV file, which may be gzipped; empty comments are left out.

    Raises:
        OSError, KeyError: there is no such file or column.
    """
    with gzip.open(file, "rt", encoding="utf-8", newline="") if file.suffix == ".gz" else file.open(encoding="utf-8", newline="") as lines:
        return [row["body"] for row in csv.DictReader(lines) if row["body"].strip()]


@contextmanager
def tokenizing(tokenizer: Path, max_length: int, workers: int) -> Iterator[Encode]:
    """Start processes that tokenize; what is yielded gives texts chunk by chunk, in order, while later ones are under way."""
    # Not forked: a fork of a process that uses CUDA inherits what it cannot use.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _load_tokenizer, (tokenizer, max_length)) as pool:
        list(pool.map(_encode, [["warm"]] * workers))  # processes start when they are first needed

        def encode(texts: list[str]) -> Iterator[list[Ids]]:
            chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
            return (np.split(ids, ends) for ids, ends in pool.map(_encode, chunks))

        yield encode


def _load_tokenizer(file: Path, max_length: int) -> None:
    global _tokenizer  # noqa: PLW0603  # a worker has one
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are what is parallel
    _tokenizer = Tokenizer.from_file(str(file))
    _tokenizer.enable_truncation(max_length)
    _tokenizer.no_padding()


def _encode(texts: list[str]) -> tuple[Ids, NDArray[np.int64]]:
    """Return all ids in a row and where each text but the last ends: one array travels faster than a list of lists."""
    encoded = [encoding.ids for encoding in _tokenizer.encode_batch_fast(texts)]
    return np.concatenate([np.array(ids, np.int64) for ids in encoded]), np.cumsum([len(ids) for ids in encoded])[:-1]


class Buckets:
    """Batches of texts of similar length, `budget` tokens each: what sorting gives, without waiting for the last text.

    Args:
        max_length: of a text.
        budget: tokens of a batch, padding included; a longer text is a batch of its own.
        pad_id: the padding token.
        first_position: of a text's first token.
    """

    def __init__(self, *, max_length: int, budget: int, pad_id: int, first_position: int) -> None:
        lengths = [*(length for length in LENGTHS if length < max_length), max_length]
        self._rows = {length: max(1, budget // length) for length in lengths}
        self._bucket_of = np.array(lengths)[np.searchsorted(lengths, np.arange(max_length + 1))]
        self._waiting: dict[int, list[tuple[int, Ids]]] = {length: [] for length in lengths}
        self._pad_id, self._first_position = pad_id, first_position

    def add(self, number: int, ids: Ids) -> Iterator[Batch]:
        """Take a text; yield its bucket when it is full."""
        length = int(self._bucket_of[len(ids)])
        waiting = self._waiting[length]
        waiting.append((number, ids))
        if len(waiting) == self._rows[length]:
            yield self._batch(waiting, length)
            waiting.clear()

    def flush(self) -> Iterator[Batch]:
        """Yield the rest. What does not fill its bucket moves to the next longer one: one batch at most has empty rows."""
        rest: list[tuple[int, Ids]] = []
        for length, rows in self._rows.items():
            rest, self._waiting[length] = rest + self._waiting[length], []
            while len(rest) >= rows:
                yield self._batch(rest[:rows], length)
                rest = rest[rows:]
        if rest:
            yield self._batch(rest, length)

    def _batch(self, texts: list[tuple[int, Ids]], length: int) -> Batch:
        return _padded(texts, self._rows[length], length, self._pad_id, self._first_position)


class InOrder:
    """Batches of `rows` texts as they come, padded to the longest: how the published figure was measured."""

    def __init__(self, *, rows: int, pad_id: int, first_position: int) -> None:
        self._rows, self._pad_id, self._first_position = rows, pad_id, first_position
        self._waiting: list[tuple[int, Ids]] = []

    def add(self, number: int, ids: Ids) -> Iterator[Batch]:
        """Take a text; yield when there are enough."""
        self._waiting.append((number, ids))
        if len(self._waiting) == self._rows:
            yield from self.flush()

    def flush(self) -> Iterator[Batch]:
        """Yield the rest."""
        if self._waiting:
            longest = max(len(ids) for _, ids in self._waiting)
            yield _padded(self._waiting, len(self._waiting), longest, self._pad_id, self._first_position)
            self._waiting = []


class Packer:
    """Batches of texts end to end, without padding; all have one shape, and only the last one is not about full.

    Args:
        budget: tokens of a batch, at least a text's.
        pad_id: what fills the end, in no text's row.
        first_position: of a text's first token.
    """

    def __init__(self, *, budget: int, pad_id: int, first_position: int) -> None:
        self._budget, self._pad_id, self._first_position = budget, pad_id, first_position
        self.rows = max(1, budget // _SHORTEST_MEAN)
        self._waiting: list[tuple[int, Ids]] = []
        self._tokens = 0

    def add(self, number: int, ids: Ids) -> Iterator[Batch]:
        """Take a text; yield those before it when it does not fit."""
        if self._tokens + len(ids) > self._budget or len(self._waiting) == self.rows:
            yield from self.flush()
        self._waiting.append((number, ids))
        self._tokens += len(ids)

    def flush(self) -> Iterator[Batch]:
        """Yield the rest."""
        if not self._waiting:
            return
        lengths = np.array([len(ids) for _, ids in self._waiting])
        ids = np.full(self._budget, self._pad_id, np.int64)
        np.concatenate([ids for _, ids in self._waiting], out=ids[: self._tokens])
        offsets = np.full(self.rows + 1, self._tokens, np.int32)  # the rows that are not there are empty
        offsets[: len(lengths) + 1] = np.concatenate(([0], np.cumsum(lengths)))
        rows = np.full(self._budget, self.rows, np.int64)
        rows[: self._tokens] = np.repeat(np.arange(len(lengths)), lengths)
        positions = np.full(self._budget, self._first_position, np.int64)
        positions[: self._tokens] += np.arange(self._tokens) - np.repeat(offsets[: len(lengths)], lengths)
        yield Batch([number for number, _ in self._waiting], self._tokens, self._budget, (ids, positions, rows, offsets))
        self._waiting, self._tokens = [], 0


def _padded(texts: list[tuple[int, Ids]], rows: int, length: int, pad_id: int, first_position: int) -> Batch:
    ids = np.full((rows, length), pad_id, np.int64)
    lengths = np.ones(rows, np.int32)  # an empty row has one token: attention over none is not a number
    for row, (_, text) in enumerate(texts):
        ids[row, : len(text)] = text
        lengths[row] = len(text)
    positions = np.arange(first_position, first_position + length)
    return Batch([number for number, _ in texts], int(lengths[: len(texts)].sum()), ids.size, (ids, positions, lengths))
