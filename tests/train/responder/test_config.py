from __future__ import annotations

from typing import Any

import pytest
from empathetic_train.errors import ConfigError
from empathetic_train.responder.config import ResponderConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 100},
        {"width": 0},
        {"key_value_heads": 3},
        {"vocabulary": 299},
        {"row_tokens": 16},
        {"held_out_percent": 0},
        {"tune_epochs": 0.0},
        {"pretrain_epochs": -1.0},
        {"pretrain_learning_rate": float("nan")},
        {"dropout": 1.0},
        {"seed": -1},
    ],
    ids=lambda wrong: "-".join(f"{name}={value}" for name, value in wrong.items()),
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ResponderConfig(**wrong)
