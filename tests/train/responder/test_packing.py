from __future__ import annotations

import numpy as np
import pytest
import torch
from empathetic_train.responder import model
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.packing import IGNORED, Document, PackedRows, pack, split_long
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

ROW = 16
LENGTHS = st.lists(st.integers(1, ROW), min_size=1, max_size=40)


def numbered(lengths: list[int]) -> list[Document]:
    """Documents whose tokens are all different, so that each can be found again."""
    starts = np.cumsum([1, *lengths])
    return [Document(list(range(start, start + length))) for start, length in zip(starts[:-1], lengths, strict=True)]


def unpacked(rows: PackedRows) -> list[list[int]]:
    """Cut rows where positions begin anew."""
    found = []
    for ids, positions in zip(rows.input_ids, rows.position_ids, strict=True):
        parts = np.split(ids, np.flatnonzero(positions == 0)[1:])
        found += [part.tolist() for part in parts if part.any()]
    return found


@given(LENGTHS)
def test_no_token_is_lost_and_no_document_is_cut(lengths: list[int]) -> None:
    documents = numbered(lengths)
    assert sorted(unpacked(pack(documents, ROW, 0))) == [document.ids for document in documents]


@given(st.lists(st.integers(1, ROW // 4), min_size=1, max_size=60))
def test_all_rows_but_the_last_are_nearly_full(lengths: list[int]) -> None:
    rows = pack(numbered(lengths), ROW, 0)
    assert ((rows.input_ids == 0).sum(axis=1) < ROW // 4).sum() >= len(rows) - 1


def test_rows_come_in_whole_batches() -> None:
    rows = pack(numbered([ROW] * 5), ROW, 0, batch_rows=4)
    assert len(rows) == 8
    assert (rows.labels[5:] == IGNORED).all()
    assert rows[7]["input_ids"].shape == (ROW,)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_long_documents_are_cut_and_keep_every_token(lengths: list[int]) -> None:
    documents = numbered(lengths)
    pieces = split_long(documents, ROW)
    assert [token for piece in pieces for token in piece.ids] == [token for document in documents for token in document.ids]
    assert all(len(piece.ids) <= ROW for piece in pieces)


def test_what_is_only_read_stays_so_in_every_piece() -> None:
    pieces = split_long([Document(range(40), learned_from=20)], ROW)
    assert [piece.learned_from for piece in pieces] == [20, 4, 0]


def test_a_document_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="17 tokens does not fit a row of 16"):
        pack(numbered([17]), ROW, 0)


def test_labels_are_the_learned_tokens_without_a_documents_first() -> None:
    rows = pack([Document([1, 2, 3, 4], learned_from=2), Document([5, 6, 7])], 8, 0)
    assert rows.labels.tolist() == [[IGNORED, IGNORED, 3, 4, IGNORED, 6, 7, IGNORED]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]
    assert rows.learned_tokens == 4


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_documents_in_a_row_do_not_see_each_other(config: ResponderConfig, tokenizer: PreTrainedTokenizerFast, attention: str) -> None:
    built = model.build(config, tokenizer).eval()
    built.set_attn_implementation(attention)
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randint(6, 400, (length,), generator=draw).tolist() for length in (9, 5))
    row = pack([Document(first), Document(second)], ROW, 0)[0]
    with torch.inference_mode():
        packed = built(input_ids=row["input_ids"][None], position_ids=row["position_ids"][None]).logits[0]
        alone = [built(input_ids=torch.tensor([ids])).logits[0] for ids in (first, second)]
    assert torch.allclose(packed[:9], alone[0], atol=1e-5)
    assert torch.allclose(packed[9:14], alone[1], atol=1e-5)
