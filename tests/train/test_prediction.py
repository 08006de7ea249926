from __future__ import annotations

from pathlib import Path

import numpy as np
from empathetic_train import goemotions
from empathetic_train.model import from_base, load_tokenizer
from empathetic_train.prediction import predict


def test_predictions_do_not_depend_on_order_or_batches(bert: Path, data_dir: Path) -> None:
    data = goemotions.read(data_dir)
    model = from_base(str(bert), labels=data.labels, pooling="mean", dropout=None, head_bias=-3.0)
    tokenizer = load_tokenizer(str(bert))
    rows = data.tokenized("dev", tokenizer, 32)
    one, many = (predict(model, rows, tokenizer, title="dev", batch_size=size) for size in (1, 50))
    backwards = predict(model, rows.select(range(len(rows) - 1, -1, -1)), tokenizer, title="dev")
    assert one.embeddings.shape == (len(rows), model.config.hidden_size)
    for alone, together, reverse in zip(one, many, backwards, strict=True):
        assert np.allclose(alone, together, atol=1e-6)
        assert np.allclose(alone, reverse[::-1], atol=1e-6)
