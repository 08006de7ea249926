from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empathetic_train import goemotions, training
from empathetic_train.config import TrainConfig
from empathetic_train.distillation import training_set
from empathetic_train.errors import ConfigError
from empathetic_train.goemotions import EmotionData
from empathetic_train.model import from_base, load_tokenizer
from empathetic_train.prediction import predict

# The Trainer distrusts modification times less than a second apart.
pytestmark = pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning")
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmotionData:
    path = tmp_path_factory.mktemp("unlabelled") / "texts.txt"
    path.write_text("the kettle sings\n\nwhat a thrilling letter\n", encoding="utf-8")
    return goemotions.with_unlabelled(goemotions.read(data_dir), path)


def test_labels_and_teachers_are_mixed_and_unlabelled_texts_follow_the_teachers_alone(
    bert: Path, data: EmotionData, teacher: Path, tmp_path: Path, fast: Settings
) -> None:
    config = TrainConfig(teachers=(str(teacher),), distill_weight=0.5, **fast)
    rows = training_set(config, data, load_tokenizer(str(bert)), tmp_path).rows
    train, unlabelled = (np.load(tmp_path / f"teachers-{split}.npz")["probabilities"] for split in ("train", "unlabelled"))
    assert 0 < train.min() < train.max() < 1
    assert np.allclose(rows["labels"], np.concatenate([(train + data.targets["train"]) / 2, unlabelled]))


def test_the_teachers_are_asked_once(bert: Path, data: EmotionData, teacher: Path, tmp_path: Path, fast: Settings) -> None:
    config = TrainConfig(teachers=(str(teacher),), embedding_weight=0.5, **fast)
    first = training_set(config, data, load_tokenizer(str(bert)), tmp_path)
    kept = (tmp_path / "teachers-train.npz").stat().st_mtime_ns
    second = training_set(config, data, load_tokenizer(str(bert)), tmp_path)
    assert (tmp_path / "teachers-train.npz").stat().st_mtime_ns == kept
    assert first.embeddings is not None
    assert second.embeddings is not None
    assert np.array_equal(first.embeddings, second.embeddings)


def test_a_student_comes_near_its_teachers_pooled_vectors(
    bert: Path, data: EmotionData, teacher: Path, tmp_path: Path, fast: Settings
) -> None:
    def distance(weight: float) -> float:
        config = TrainConfig(
            model_name=str(bert), layers=(0,), teachers=(str(teacher),), embedding_weight=weight, epochs=2, dropout=0.0, **fast
        )
        work = tmp_path / str(weight)
        model, tokenizer, _ = training.train(config, data, work)
        rows = data.tokenized("train", tokenizer, config.max_length)
        wanted = np.load(work / "teachers-train.npz")["embeddings"]
        return float(np.square(predict(model, rows, tokenizer, title="train").embeddings - wanted).mean())

    assert distance(1.0) < distance(0.0)


def test_a_teacher_with_other_labels_is_refused(bert: Path, data: EmotionData, tmp_path: Path, fast: Settings) -> None:
    from_base(str(bert), labels=["joy"], pooling="mean", dropout=None, head_bias=-3.0).save(tmp_path)
    config = TrainConfig(teachers=(str(tmp_path),), **fast)
    with pytest.raises(ConfigError, match="other labels"):
        training_set(config, data, load_tokenizer(str(bert)), tmp_path)
