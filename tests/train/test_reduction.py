from __future__ import annotations

from pathlib import Path

import pytest
import torch
from empathetic_train.errors import ConfigError
from empathetic_train.model import EmotionModel, from_base
from empathetic_train.reduction import keep_layers, keep_neurons

BATCH = (torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4, dtype=torch.long))


@pytest.fixture
def model(bert: Path) -> EmotionModel:
    torch.manual_seed(0)
    return from_base(str(bert), labels=("anger", "joy"), pooling="mean", dropout=None, head_bias=-3.0).eval()


def test_the_layers_named_are_kept(model: EmotionModel) -> None:
    expected = model.state_dict()["encoder.encoder.layer.1.output.dense.weight"]
    keep_layers(model, [1])
    assert torch.equal(model.state_dict()["encoder.encoder.layer.0.output.dense.weight"], expected)
    assert model.config.num_hidden_layers == model.encoder.config.num_hidden_layers == 1


def test_all_layers_and_neurons_change_nothing(model: EmotionModel) -> None:
    before = model(*BATCH).logits
    keep_layers(model, [0, 1])
    keep_neurons(model, model.config.intermediate_size, [BATCH])
    assert torch.allclose(model(*BATCH).logits, before, atol=1e-6)


def test_neurons_that_add_nothing_go_first(model: EmotionModel) -> None:
    count = model.config.intermediate_size // 2
    for block in model.encoder.encoder.layer:
        block.output.dense.weight.data[:, ::2] = 0
    before = model(*BATCH).logits
    keep_neurons(model, count, [BATCH])
    assert model.encoder.encoder.layer[0].intermediate.dense.weight.shape[0] == count
    assert torch.allclose(model(*BATCH).logits, before, atol=1e-6)


def test_a_layer_or_neurons_that_are_not_there_are_refused(model: EmotionModel) -> None:
    with pytest.raises(ConfigError, match=r"layers = \(0, 2\): the start has 2 layers"):
        keep_layers(model, [0, 2])
    with pytest.raises(ConfigError, match="feed_forward = 9999: the start has"):
        keep_neurons(model, 9999, [BATCH])
