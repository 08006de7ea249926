from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from empathetic_train import goemotions, training
from empathetic_train import model as emotion_model
from empathetic_train.config import TrainConfig
from empathetic_train.errors import ConfigError
from empathetic_train.goemotions import EmotionData
from empathetic_train.model import from_base
from empathetic_train.prediction import predict

from tests import tiny_models

# The Trainer distrusts modification times less than a second apart, and DeBERTa still decorates with torch.jit.script.
pytestmark = [
    pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning"),
]
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def data(data_dir: Path) -> EmotionData:
    return goemotions.read(data_dir)


def losses(history: list[dict[str, Any]]) -> list[float]:
    return [entry["eval_loss"] for entry in history if "eval_loss" in entry]


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta"])
def test_each_family_learns(
    base: Callable[[Any], Path], data: EmotionData, tmp_path: Path, family: tiny_models.Family, fast: Settings
) -> None:
    config = TrainConfig(model_name=str(base(family)), epochs=3, **fast)
    _, _, history = training.train(config, data, tmp_path)
    assert losses(history)[-1] < losses(history)[0]


@pytest.mark.parametrize("loss", ["focal", "asymmetric"])
def test_each_loss_trains(bert: Path, data: EmotionData, tmp_path: Path, loss: str, fast: Settings) -> None:
    config = TrainConfig(
        model_name=str(bert), epochs=2, loss=loss, label_smoothing=0.05, gradient_accumulation=2, layer_decay=0.9, dropout=0.0, **fast
    )
    _, _, history = training.train(config, data, tmp_path)
    assert losses(history)[-1] < losses(history)[0]


def test_the_best_epoch_is_kept(bert: Path, data: EmotionData, tmp_path: Path, fast: Settings) -> None:
    config = TrainConfig(model_name=str(bert), epochs=3, **fast)
    model, tokenizer, history = training.train(config, data, tmp_path)
    scores = [entry["eval_score"] for entry in history if "eval_score" in entry]
    rows = data.tokenized("dev", tokenizer, config.max_length)
    probabilities = predict(model, rows.select(np.argsort(rows["length"], kind="stable")), tokenizer, title="dev").probabilities
    targets = data.targets["dev"][np.argsort(rows["length"], kind="stable")].astype(int)
    micro, macro = training.f1_scores(training.decide_held_out(probabilities, targets), targets)
    assert (micro + macro) / 2 == pytest.approx(max(scores))


def test_training_stops_when_dev_no_longer_improves(bert: Path, data: EmotionData, tmp_path: Path, fast: Settings) -> None:
    config = TrainConfig(model_name=str(bert), epochs=8, patience=1, **(fast | {"learning_rate": 1e-9, "head_learning_rate": 1e-9}))
    _, _, history = training.train(config, data, tmp_path)
    assert len(losses(history)) == 2


def test_the_same_seed_gives_the_same_weights(bert: Path, data: EmotionData, tmp_path: Path, fast: Settings) -> None:
    config = TrainConfig(model_name=str(bert), epochs=1, **fast)
    first, second = (training.train(config, data, tmp_path / name)[0].state_dict() for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta"])
def test_a_student_of_fewer_layers_and_neurons_is_trained_and_reloads(
    base: Callable[[Any], Path], data: EmotionData, tmp_path: Path, family: tiny_models.Family, fast: Settings
) -> None:
    config = TrainConfig(model_name=str(base(family)), epochs=1, layers=(1,), feed_forward=24, **fast)
    model, _, _ = training.train(config, data, tmp_path / "work")
    model.save(tmp_path)
    again = emotion_model.load(tmp_path)
    assert (again.config.num_hidden_layers, again.config.intermediate_size) == (1, 24)
    assert not [name for name in again.state_dict() if ".layer.1." in name]


def test_an_average_is_a_start_or_an_end(data: EmotionData, teacher: Path, tmp_path: Path, fast: Settings) -> None:
    both = (str(teacher), str(teacher))
    kept, _, history = training.train(TrainConfig(average=both, epochs=0, **fast), data, tmp_path / "kept")
    trained, _, _ = training.train(TrainConfig(average=both, epochs=1, **fast), data, tmp_path / "trained")
    assert history == []
    assert not torch.equal(kept.classifier.weight, trained.classifier.weight)


def test_an_average_needs_the_same_pooling(data: EmotionData, teacher: Path, tmp_path: Path, fast: Settings) -> None:
    with pytest.raises(ConfigError, match="pooling = 'mean', not 'first'"):
        training.train(TrainConfig(average=(str(teacher),), epochs=0, **(fast | {"pooling": "first"})), data, tmp_path)


def test_a_length_beyond_the_base_models_is_refused(bert: Path, data: EmotionData, tmp_path: Path, fast: Settings) -> None:
    with pytest.raises(ConfigError, match="max_length = 129: the base model has positions for 128 tokens"):
        training.train(TrainConfig(model_name=str(bert), **(fast | {"max_length": 129})), data, tmp_path)


def test_each_layer_has_its_learning_rate(bert: Path) -> None:
    model = from_base(str(bert), labels=["joy"], pooling="mean", dropout=None, head_bias=-3.0)
    config = TrainConfig(learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.5, weight_decay=0.1)
    rate = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in training.parameter_groups(model, config)
        for parameter in group["params"]
    }
    found = {name: rate[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["classifier.weight"] == (7.0, 0.1)
    assert found["classifier.bias"] == (7.0, 0.0)
    assert found["encoder.encoder.layer.1.output.dense.weight"] == (1.0, 0.1)
    assert found["encoder.encoder.layer.0.output.dense.weight"] == (0.5, 0.1)
    assert found["encoder.embeddings.word_embeddings.weight"] == (0.25, 0.1)
    assert len(rate) == len(found)


def test_only_a_checkpoint_written_whole_is_resumed(tmp_path: Path) -> None:
    for step, content in ((9, "{}"), (18, json.dumps({"epoch": 2})), (27, '{"epo'), (100, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if content is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(content)
    found = training.last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-18"
    assert training.last_checkpoint(tmp_path / "absent") is None
