from __future__ import annotations

import json
from pathlib import Path

import pytest
from empathetic_train import checkpoint
from empathetic_train.config import TrainConfig
from empathetic_train.errors import CheckpointError, ConfigError

HASHES = {"train": "1", "dev": "2", "test": "3", "labels": "4"}


def finish(directory: Path, *files: str) -> None:
    checkpoint.begin(directory, TrainConfig(), HASHES)
    staging = checkpoint.stage(directory)
    for name in files:
        (staging / name).write_text(name)
    checkpoint.publish(directory, {"config": checkpoint.settings(TrainConfig())})


def test_a_begun_run_looks_started_and_not_finished(tmp_path: Path) -> None:
    checkpoint.begin(tmp_path, TrainConfig(), HASHES)
    (checkpoint.stage(tmp_path) / "config.json").write_text("{}")
    assert checkpoint.is_started(tmp_path)
    assert not checkpoint.is_finished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_published_checkpoint_keeps_nothing_of_its_run_but_tensorboard(tmp_path: Path) -> None:
    checkpoint.begin(tmp_path, TrainConfig(), HASHES)
    (tmp_path / "run" / "tensorboard").mkdir()
    (tmp_path / "run" / "tensorboard" / "events").touch()
    (tmp_path / "run" / "checkpoint-3").mkdir()
    finish(tmp_path, "config.json")
    assert checkpoint.is_finished(tmp_path)
    assert not checkpoint.is_started(tmp_path)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tensorboard"]


def test_a_published_checkpoint_has_no_run_folder_without_tensorboard(tmp_path: Path) -> None:
    finish(tmp_path, "config.json")
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "training.json"}
    assert json.loads((tmp_path / "training.json").read_text())["files"] == ["config.json"]


def test_the_same_settings_resume_and_keep_the_start_time(tmp_path: Path) -> None:
    config = TrainConfig(teachers=("a",))
    record = tmp_path / "run" / "run.json"
    checkpoint.begin(tmp_path, config, HASHES)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"started_at": "earlier"}))
    assert checkpoint.begin(tmp_path, TrainConfig(teachers=("a",), data="elsewhere", hub_model_id="x/y"), HASHES) == "earlier"


def test_a_run_that_saved_nothing_gives_way_to_other_settings(tmp_path: Path) -> None:
    checkpoint.begin(tmp_path, TrainConfig(model_name="mistyped"), HASHES)
    (tmp_path / "run" / "teachers.npy").touch()
    checkpoint.begin(tmp_path, TrainConfig(), HASHES)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["model_name"] == "microsoft/deberta-base"
    assert not (tmp_path / "run" / "teachers.npy").exists()


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    checkpoint.begin(tmp_path, TrainConfig(learning_rate=1e-3), HASHES)
    (tmp_path / "run" / "checkpoint-9").mkdir()
    with pytest.raises(ConfigError, match=r"learning_rate = 0\.001, not 0\.002: .*--force-train") as caught:
        checkpoint.begin(tmp_path, TrainConfig(learning_rate=2e-3), HASHES)
    assert "\n" not in str(caught.value)


def test_other_data_do_not_resume(tmp_path: Path) -> None:
    checkpoint.begin(tmp_path, TrainConfig(), HASHES)
    (tmp_path / "run" / "checkpoint-9").mkdir()
    with pytest.raises(ConfigError, match="another dev split"):
        checkpoint.begin(tmp_path, TrainConfig(), HASHES | {"dev": "9"})


def test_discarding_leaves_files_that_no_run_wrote(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    finish(directory, "config.json", "model.safetensors")
    (directory / "notes.txt").touch()
    checkpoint.discard(directory)
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]


def test_discarding_never_leaves_the_directory(tmp_path: Path) -> None:
    outside, directory = tmp_path / "mine.txt", tmp_path / "checkpoint"
    outside.touch()
    finish(directory, "config.json")
    training = json.loads((directory / "training.json").read_text())
    (directory / "training.json").write_text(json.dumps(training | {"files": ["../mine.txt"]}))
    checkpoint.discard(directory)
    assert outside.exists()


def test_settings_that_would_give_another_model_are_named(tmp_path: Path) -> None:
    finish(tmp_path, "config.json")
    assert checkpoint.changed_settings(tmp_path, TrainConfig(results_dir="elsewhere", confidence_threshold=0.2)) == []
    assert checkpoint.changed_settings(tmp_path, TrainConfig(epochs=1, seed=3)) == ["epochs", "seed"]


def test_recorded_settings_name_no_place_on_this_machine() -> None:
    config = TrainConfig(data="/home/data", checkpoint_dir="/home/c", model_name="/home/models/mini", teachers=("/home/a", "runs/b"))
    recorded = checkpoint.settings(config)
    assert "/home" not in json.dumps(recorded)
    assert (recorded["model_name"], recorded["teachers"]) == ("mini", ["a", "runs/b"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Not a directory"):
        checkpoint.begin(tmp_path / "file" / "checkpoint", TrainConfig(), HASHES)


def test_a_damaged_json_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"training\.json"):
        checkpoint.read_json(tmp_path / "training.json")
