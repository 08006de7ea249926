from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from benchmarks.gpu.batches import LENGTHS, Batch, Batching, Buckets, InOrder, Packer, comments, tokenizing

PAD, FIRST = 9, 2


def collect(batching: Batching, texts: list[np.ndarray]) -> list[Batch]:  # type: ignore[type-arg]
    batches = [batch for number, ids in enumerate(texts) for batch in batching.add(number, ids)]
    return [*batches, *batching.flush()]


def invented(count: int, longest: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Token ids of which no two texts have the same."""
    draw = np.random.default_rng(0)
    return [np.arange(length) + 100 * number + 10 for number, length in enumerate(draw.integers(1, longest + 1, count))]


@pytest.mark.parametrize(
    "batching",
    [
        Buckets(max_length=64, budget=128, pad_id=PAD, first_position=FIRST),
        InOrder(rows=8, pad_id=PAD, first_position=FIRST),
        Packer(budget=128, pad_id=PAD, first_position=FIRST),
    ],
    ids=lambda batching: type(batching).__name__,
)
def test_every_text_is_in_one_batch_with_all_its_tokens(batching: Batching) -> None:
    texts = invented(200, 64)
    batches = collect(batching, texts)
    assert sorted(number for batch in batches for number in batch.order) == list(range(200))
    for batch in batches:
        assert batch.tokens == sum(len(texts[number]) for number in batch.order)
        assert batch.computed == batch.arrays[0].size
        for row, number in enumerate(batch.order):
            np.testing.assert_array_equal(tokens_of(batch, row), texts[number])
    assert not list(batching.flush())


def tokens_of(batch: Batch, row: int) -> np.ndarray:  # type: ignore[type-arg]
    if len(batch.arrays) == 3:
        ids, _, lengths = batch.arrays
        assert (ids[row, lengths[row] :] == PAD).all()
        return ids[row, : lengths[row]]
    ids, _, _, offsets = batch.arrays
    return ids[offsets[row] : offsets[row + 1]]


def test_bucketed_batches_have_one_shape_for_each_length_and_only_the_last_is_not_full() -> None:
    batches = collect(Buckets(max_length=100, budget=256, pad_id=PAD, first_position=FIRST), invented(500, 100))
    lengths = [*(length for length in LENGTHS if length < 100), 100]
    assert {batch.arrays[0].shape for batch in batches} <= {(256 // length, length) for length in lengths}
    assert [len(batch.order) for batch in batches[:-1]] == [len(batch.arrays[0]) for batch in batches[:-1]]


def test_a_bucket_wastes_no_more_than_the_step_to_its_length() -> None:
    (batch,) = collect(Buckets(max_length=512, budget=32, pad_id=PAD, first_position=0), [np.arange(17)])
    assert batch.arrays[0].shape == (1, 24)


def test_packed_texts_have_their_own_positions_and_rows_and_what_fills_the_end_has_none() -> None:
    (batch,) = collect(Packer(budget=72, pad_id=PAD, first_position=FIRST), [np.arange(3), np.arange(2)])
    ids, positions, rows, offsets = batch.arrays
    assert positions[:5].tolist() == [2, 3, 4, 2, 3]
    assert rows[:5].tolist() == [0, 0, 0, 1, 1]
    assert set(rows[5:]) == {3}
    assert offsets.tolist() == [0, 3, 5, 5]
    assert set(ids[5:]) == {PAD}


def test_packed_batches_have_one_shape() -> None:
    batches = collect(Packer(budget=128, pad_id=PAD, first_position=FIRST), invented(100, 64))
    assert len({tuple(array.shape for array in batch.arrays) for batch in batches}) == 1
    assert len(batches) > 10


def test_processes_tokenize_as_one_does_in_order_and_cut(root: Path) -> None:
    file = root / "model_repository" / "emotion_classifier" / "tokenizer.json"
    alone = Tokenizer.from_file(str(file))
    alone.enable_truncation(12)
    texts = [f"the kettle number {number} whistled " + "loudly " * (number % 9) for number in range(300)]
    with tokenizing(file, 12, workers=2) as encode:
        found = [ids.tolist() for chunk in encode(texts) for ids in chunk]
    assert found == [encoding.ids for encoding in alone.encode_batch(texts)]
    assert max(map(len, found)) == 12


def test_comments_are_a_column_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "comments.csv"
    file.write_text('id,body\n1,"a kettle,\nbroken"\n2,  \n3,fine\n')
    assert comments(file) == ["a kettle,\nbroken", "fine"]
