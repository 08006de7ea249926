"""The texts that every target gets, in the same order. Knows no target."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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


def synthetic(tokenizer: Tokenizer, count: int, seed: int = 0) -> Texts:
    """Make texts of GoEmotions' lengths for machines that lack its files.

    Whole words are drawn from the vocabulary; their number is log-normal with a median of 13 and a sigma of 0.6, cut to 1..40:
    with the two special tokens that is about GoEmotions' mean of 19 tokens (median 16, 99th percentile 38).
    """
    generator = np.random.default_rng(seed)
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1)
    lengths = np.clip(generator.lognormal(np.log(15), 0.5, count).astype(int), 1, 36)
    return Texts(f"synthetic words, seed {seed}", [" ".join(generator.choice(words, size=length)) for length in lengths])
