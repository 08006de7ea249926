"""Packs documents into rows of one length, so that no step computes on padding. Knows tokens, and no texts.

Documents in a row do not see each other: positions begin anew with each, which is what transformers makes the attention mask from when
it is given positions and no mask. The first token of a document is predicted from nothing, so it has no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

IGNORED = -100  # what torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Document:
    """Tokens that belong together; those from `learned_from` on are learned, those before are only read."""

    ids: Sequence[int]
    learned_from: int = 0


class PackedRows(Dataset[dict[str, Tensor]]):
    """Rows for the Trainer: `input_ids`, `position_ids` and `labels`, each (rows, row tokens)."""

    def __init__(self, input_ids: NDArray[np.int32], position_ids: NDArray[np.int32], labels: NDArray[np.int32]) -> None:
        self.input_ids, self.position_ids, self.labels = input_ids, position_ids, labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.input_ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one row."""
        rows = {"input_ids": self.input_ids, "position_ids": self.position_ids, "labels": self.labels}
        return {name: torch.from_numpy(values[index].astype(np.int64)) for name, values in rows.items()}

    @property
    def learned_tokens(self) -> int:
        """Number of tokens that count in the loss."""
        return int((self.labels != IGNORED).sum())


def split_long(documents: Iterable[Document], row_tokens: int) -> list[Document]:
    """Cut documents that are longer than a row into pieces of a row; no token is lost, and only a piece's first loses its label."""
    pieces = []
    for document in documents:
        for start in range(0, len(document.ids), row_tokens):
            learned_from = max(0, document.learned_from - start)
            pieces.append(Document(document.ids[start : start + row_tokens], learned_from))
    return pieces


def pack(documents: Sequence[Document], row_tokens: int, pad_id: int, *, batch_rows: int = 1) -> PackedRows:
    """Pack documents, the longest first, each into the fullest row that has room for it (best fit, decreasing).

    Args:
        documents: none longer than a row.
        row_tokens: tokens of a row.
        pad_id: what fills a row's end.
        batch_rows: empty rows make the number of rows a multiple of this: a compiled model wants batches of one shape.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row_tokens + 1)]  # rows by the tokens that they have room for
    sizes = 0  # the bits of the rooms that some row has: finds the smallest that suffices at once
    for index in sorted(range(len(documents)), key=lambda index: -len(documents[index].ids)):
        size = len(documents[index].ids)
        if size > row_tokens:
            raise ValueError(f"a document of {size} tokens does not fit a row of {row_tokens}")
        enough = sizes >> size
        room = size + (enough & -enough).bit_length() - 1 if enough else row_tokens
        if enough:
            row = with_room[room].pop()
            sizes &= ~(1 << room) if not with_room[room] else -1
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(index)
        with_room[room - size].append(row)
        sizes |= 1 << (room - size)
    rows += [[] for _ in range(-len(rows) % batch_rows)]
    return _fill(documents, rows, row_tokens, pad_id)


def _fill(documents: Sequence[Document], rows: Sequence[Sequence[int]], row_tokens: int, pad_id: int) -> PackedRows:
    shape = (len(rows), row_tokens)
    input_ids, labels = np.full(shape, pad_id, np.int32), np.full(shape, IGNORED, np.int32)
    position_ids = np.zeros(shape, np.int32)
    for row, members in enumerate(rows):
        start = 0
        for index in members:
            document = documents[index]
            end = start + len(document.ids)
            input_ids[row, start:end] = document.ids
            position_ids[row, start:end] = np.arange(end - start)
            learned = start + max(1, document.learned_from)
            labels[row, learned:end] = input_ids[row, learned:end]
            start = end
        position_ids[row, start:] = np.arange(row_tokens - start)
    return PackedRows(input_ids, position_ids, labels)
