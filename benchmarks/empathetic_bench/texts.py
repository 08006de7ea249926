"""The texts that every target gets, in the same order. Knows no target."""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts, and how a report names them."""

    name: str
    texts: list[str]

    @property
    def sha256(self) -> str:
        """Fingerprint, so that two reports can be told to be on the same texts."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


def goemotions(directory: Path, split: str = "test") -> Texts:
    """Read a split of local GoEmotions files, in its own order.

    Raises:
        OSError: the file is missing.
    """
    lines = (directory / f"{split}.tsv").read_text(encoding="utf-8").split("\n")
    return Texts(f"GoEmotions {split}", [line.split("\t")[0] for line in lines if line])


def reddit(file: Path) -> Texts:
    """Read the 10,000 comments of a published GPU benchmark, in its own order.

    Raises:
        OSError: the file is missing.
    """
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        return Texts("Reddit comments", [row["body"] for row in csv.DictReader(lines) if row["body"].strip()])


def shaped(name: str, tokenizer: Tokenizer, *, data: Path | None, count: int) -> Texts:
    """Return the first `count` texts of a shape: `goemotions`, `reddit`, `synthetic`, or `tokens:N` for N tokens each.

    Args:
        name: the shape.
        tokenizer: the model's.
        data: folder with goemotions/ and bench/, for the first two.
        count: how many.

    Raises:
        OSError: the data are missing.
        ValueError: there is no such shape.
    """
    kind, _, length = name.partition(":")
    if kind == "tokens" and length.isdecimal():
        return of_length(tokenizer, int(length), count)
    if name == "synthetic":
        return synthetic(tokenizer, count)
    if name not in ("goemotions", "reddit"):
        raise ValueError(f"no shape is called {name}")
    if data is None:
        raise ValueError(f"the shape {name} needs --data")
    found = goemotions(data / "goemotions") if name == "goemotions" else reddit(data / "bench" / "reddit_comments_10k.csv.gz")
    return Texts(found.name, found.texts[:count])


def of_length(tokenizer: Tokenizer, tokens: int, count: int, seed: int = 0) -> Texts:
    """Make texts of whole words that are `tokens` long each, the two special tokens included.

    Raises:
        ValueError: no word has room.
    """
    if tokens < 3:
        raise ValueError("a text has at least 3 tokens, two of them special")
    generator, words = np.random.default_rng(seed), _words(tokenizer)
    return Texts(f"{tokens} tokens, seed {seed}", [" ".join(generator.choice(words, size=tokens - 2)) for _ in range(count)])


def synthetic(tokenizer: Tokenizer, count: int, seed: int = 0) -> Texts:
    """Make texts of GoEmotions' lengths for machines that lack its files.

    Whole words are drawn from the vocabulary; their number is log-normal with a median of 15 and a sigma of 0.5, cut to 1..36:
    with the two special tokens that is about GoEmotions' mean of 19 tokens (median 16, 99th percentile 38).
    """
    generator, words = np.random.default_rng(seed), _words(tokenizer)
    lengths = np.clip(generator.lognormal(np.log(15), 0.5, count).astype(int), 1, 36)
    return Texts(f"synthetic words, seed {seed}", [" ".join(generator.choice(words, size=length)) for length in lengths])


def _words(tokenizer: Tokenizer) -> NDArray[np.str_]:
    # As an array: drawing from a list would convert all of it for every text.
    return np.array(sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1))
