from __future__ import annotations

from pathlib import Path

import numpy as np
from empathetic_bench.texts import goemotions, synthetic
from tokenizers import Tokenizer


def test_synthetic_texts_are_the_same_for_a_seed_and_of_goemotions_lengths(root: Path) -> None:
    tokenizer = Tokenizer.from_file(str(root / "model_repository" / "emotion_classifier" / "tokenizer.json"))
    first, again, other = (synthetic(tokenizer, 500, seed) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256 != other.sha256
    lengths = [len(encoding) for encoding in tokenizer.encode_batch(first.texts)]
    assert 16 <= np.mean(lengths) <= 22
    assert max(lengths) <= 45


def test_goemotions_texts_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("first\t0\ta\nsecond\t1\tb\n")
    assert goemotions(tmp_path).texts == ["first", "second"]
