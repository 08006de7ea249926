from __future__ import annotations

import hashlib
from pathlib import Path

import datasets
import pytest
from empathetic_train import goemotions
from empathetic_train.errors import DataError
from transformers import AutoTokenizer

from tests import tiny_models


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    return tiny_models.write_data(tmp_path / "data", train=28, dev=28, test=28, repeated=3)


def test_reads_texts_labels_and_hashes(own_data: Path) -> None:
    data = goemotions.read(own_data)
    assert data.labels == tiny_models.LABELS
    assert {split: len(texts) for split, texts in data.texts.items()} == {"train": 28, "dev": 28, "test": 28}
    assert data.targets["train"].shape == (28, 28)
    assert data.targets["train"].sum(axis=1).min() >= 1
    assert data.sha256["dev"] == hashlib.sha256((own_data / "dev.tsv").read_bytes()).hexdigest()


def test_counts_test_texts_that_are_also_in_train(own_data: Path) -> None:
    assert goemotions.read(own_data).repeated("test") == 3


def test_only_a_line_feed_ends_a_line(own_data: Path) -> None:
    (own_data / "dev.tsv").write_text('one\u2028two "quoted\x85 \t3,4\tid\r\nplain\t0\n', encoding="utf-8", newline="")
    data = goemotions.read(own_data)
    assert data.texts["dev"] == ['one\u2028two "quoted\x85 ', "plain"]
    assert data.targets["dev"][0].nonzero()[0].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"fine\t0\tx\nno tabs here\n", "train.tsv:2: expected text, label ids and comment id"),
        (b"fine\t0\tx\n \t1\tx\n", "train.tsv:2: the text is empty"),
        (b"fine\t28\tx\n", "train.tsv:1: unknown label '28', expected 0 to 27"),
        (b"fine\tjoy\tx\n", "train.tsv:1: unknown label 'joy'"),
        (b"fine\t0,\tx\n", "train.tsv:1: unknown label ''"),
        (b"fine\t0\tx\nfine\t0\tx\nbad \xff\t0\tx\n", "train.tsv:3: not UTF-8"),
        (b"", "train.tsv: the split is empty"),
    ],
    ids=["columns", "empty-text", "label-too-high", "label-not-a-number", "label-missing", "encoding", "empty-split"],
)
def test_a_malformed_file_is_named_with_its_line(own_data: Path, content: bytes, complaint: str) -> None:
    (own_data / "train.tsv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        goemotions.read(own_data)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["labels.txt", "train.tsv", "dev.tsv", "test.tsv"])
def test_a_missing_file_is_named(own_data: Path, name: str) -> None:
    (own_data / name).unlink()
    with pytest.raises(DataError, match=f"{name}: No such file"):
        goemotions.read(own_data)


@pytest.mark.parametrize("content", ["", "joy\njoy\n"], ids=["none", "twice"])
def test_labels_are_distinct_and_present(own_data: Path, content: str) -> None:
    (own_data / "labels.txt").write_text(content)
    with pytest.raises(DataError, match=r"labels\.txt: needs one distinct label a line"):
        goemotions.read(own_data)


def test_tokenized_texts_are_cut_and_measured(own_data: Path, bert: Path) -> None:
    rows = goemotions.read(own_data).tokenized("train", AutoTokenizer.from_pretrained(bert), 8)
    assert max(rows["length"]) == 8
    assert [len(ids) for ids in rows["input_ids"]] == list(rows["length"])
    assert set(rows.column_names) == {"input_ids", "attention_mask", "length", "labels"}


def hub_split(texts: list[str], labels: list[list[int]]) -> datasets.Dataset:
    names = datasets.features.ClassLabel(names=["anger", "joy", "neutral"])
    kinds = datasets.Features({"text": datasets.Value("string"), "labels": datasets.Sequence(names), "id": datasets.Value("string")})
    return datasets.Dataset.from_dict({"text": texts, "labels": labels, "id": texts}, features=kinds)


def test_the_hubs_copy_gives_the_same_structure() -> None:
    one = hub_split(["a", "b"], [[0, 2], [1]])
    data = goemotions.from_hub_splits({"train": one, "validation": one, "test": hub_split(["c"], [[2]])})
    assert data.labels == ("anger", "joy", "neutral")
    assert data.targets["train"].tolist() == [[1, 0, 1], [0, 1, 0]]
    assert data.texts["test"] == ["c"]
    assert set(data.sha256) == {"labels", "train", "dev", "test"}


def test_an_empty_split_of_the_hub_is_named() -> None:
    one = hub_split(["a"], [[0]])
    with pytest.raises(DataError, match="'test' is missing or empty"):
        goemotions.from_hub_splits({"train": one, "validation": one, "test": hub_split([], [])})


def test_unlabelled_texts_are_a_split_of_their_own(own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\r\n \ntwo\tthree\n", encoding="utf-8", newline="")
    data = goemotions.with_unlabelled(goemotions.read(own_data), path)
    assert data.texts["unlabelled"] == ["one", "two\tthree"]
    assert data.targets["unlabelled"].shape == (2, 28)
    assert data.sha256["unlabelled"] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text("\n")
    with pytest.raises(DataError, match="no texts"):
        goemotions.with_unlabelled(data, path)
