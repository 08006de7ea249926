from __future__ import annotations

import numpy as np
import pytest
from empathetic_export.checkpoint import read_checkpoint
from empathetic_export.errors import ParityError, TextsError
from empathetic_export.parity import TOLERANCES, Parity, compare, require
from empathetic_export.texts import Batch, pad, random_batches, read_split, sorted_batches, tokenize, unpadded_batches
from numpy.typing import NDArray


def figures(**changes: float) -> Parity:
    fields = ("max_difference", "mean_difference", "changed_decisions", "company_difference")
    scores = ("micro_f1", "macro_f1", "checkpoint_micro_f1", "checkpoint_macro_f1")
    return Parity(texts=1, **{**dict.fromkeys(fields, 0.0), **dict.fromkeys(scores, 0.5), **changes})


@pytest.mark.parametrize(
    "changes",
    [{"max_difference": 0.001}, {"company_difference": 0.001}, {"micro_f1": 0.49}, {"macro_f1": 0.49}, {"max_difference": float("nan")}],
)
def test_each_figure_over_its_tolerance_is_refused(changes: dict[str, float]) -> None:
    require(figures(), TOLERANCES["fp32"])
    with pytest.raises(ParityError):
        require(figures(**changes), TOLERANCES["fp32"])


def test_a_model_whose_answer_depends_on_its_neighbors_is_found_out(checkpoint_of, data) -> None:  # type: ignore[no-untyped-def]
    checkpoint = read_checkpoint(checkpoint_of("bert"))

    def shifty(batch: Batch) -> NDArray[np.float32]:
        return np.full((len(batch.rows), 28), 0.1 + 0.01 * len(batch.rows), dtype=np.float32)

    parity = compare(checkpoint, read_split(data, "dev", 28), shifty)
    assert parity.company_difference > 0.1


def test_batches_hold_every_text_once(data) -> None:  # type: ignore[no-untyped-def]
    token_ids = [[2, *range(5, 5 + length), 3] for length in (3, 1, 7, 3, 2, 9, 1)]
    generator = np.random.default_rng(0)
    for batches in (sorted_batches(token_ids, 3, 0), unpadded_batches(token_ids, 2), random_batches(token_ids, 3, 0, generator)):
        assert sorted(row for batch in batches for row in batch.rows) == list(range(len(token_ids)))
        for batch in batches:
            assert [ids[mask == 1].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)] == [
                token_ids[row] for row in batch.rows
            ]
    assert all(batch.mask.all() for batch in unpadded_batches(token_ids, 2))


def test_padding_uses_the_models_own_id() -> None:
    assert pad([[2, 3], [2, 5, 3]], np.array([0, 1]), 9).ids.tolist() == [[2, 3, 9], [2, 5, 3]]


def test_long_texts_are_cut_as_the_server_cuts_them(checkpoint_of) -> None:  # type: ignore[no-untyped-def]
    tokenizer = read_checkpoint(checkpoint_of("bert")).tokenizer
    [long] = tokenize(tokenizer, ["walk home " * 50], 8)
    assert (len(long), long[-1]) == (8, tokenizer.token_to_id("[SEP]"))


def test_malformed_texts_name_file_and_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TextsError, match="No such file"):
        read_split(tmp_path, "dev", 28)
    (tmp_path / "dev.tsv").write_text("fine\t1\tx\nbad\t99\ty\n")
    with pytest.raises(TextsError, match=r"dev.tsv:2"):
        read_split(tmp_path, "dev", 28)
