from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from empathetic_train import checkpoint
from empathetic_train.config import TrainConfig
from empathetic_train.errors import CheckpointError, HubError, ResultsError
from empathetic_train.evaluation import RULES
from empathetic_train.goemotions import SPLITS
from empathetic_train.run import run
from empathetic_train.view import view

from tests import tiny_models

# The Trainer distrusts modification times less than a second apart.
pytestmark = pytest.mark.filterwarnings("ignore:mtime may not be reliable:UserWarning")
SCORES = {"exact_match", "micro_precision", "micro_recall", "micro_f1", "macro_precision", "macro_recall", "macro_f1"}


@dataclass
class FakeHub:
    """Records what is pushed, or fails."""

    error: Exception | None = None
    pushed: list[dict[str, Any]] = field(default_factory=list)

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> None:
        if self.error:
            raise self.error

    def upload_folder(self, **arguments: Any) -> None:
        self.pushed.append(arguments)


@pytest.fixture(scope="module")
def config(bert: Path, data_dir: Path, fast: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    place = tmp_path_factory.mktemp("run")
    return TrainConfig(
        model_name=str(bert),
        data=str(data_dir),
        epochs=8,
        checkpoint_dir=str(place / "checkpoint"),
        results_dir=str(place / "results"),
        **fast,
    )


@pytest.fixture(scope="module")
def results(config: TrainConfig) -> Path:
    """A finished run; its checkpoint is in `config.checkpoint_dir`."""
    written = run(config)
    assert written is not None
    return written


@pytest.fixture
def finished(config: TrainConfig, results: Path) -> Path:
    return Path(config.checkpoint_dir)


def test_the_checkpoint_holds_the_contract_with_export(finished: Path) -> None:
    files = {path.name for path in finished.iterdir()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "thresholds.json", "metrics.json", "README.md", "training.json"}
    assert "run" not in files
    assert not [name for name in files if name.startswith(".")]


def test_thresholds_are_written_for_every_label(finished: Path) -> None:
    content = json.loads((finished / "thresholds.json").read_text())
    assert list(content["per_label"]) == list(tiny_models.LABELS)
    assert 0 < content["single"] < 1
    assert content["fixed"] == 0.5


def test_metrics_are_written_for_every_split_and_rule(finished: Path) -> None:
    content = json.loads((finished / "metrics.json").read_text())
    assert set(content) == set(SPLITS)
    for split in SPLITS:
        assert set(content[split]) == set(RULES)
        for rule in RULES:
            assert set(content[split][rule]) == SCORES | {"intervals"}
            low, high = content[split][rule]["intervals"]["micro_f1"]
            assert low <= content[split][rule]["micro_f1"] <= high


def test_the_model_has_learned(finished: Path) -> None:
    content = json.loads((finished / "metrics.json").read_text())
    assert content["test"]["per_label"]["micro_f1"] > 0.6


def test_training_json_says_where_the_model_comes_from(finished: Path, data_dir: Path) -> None:
    training = json.loads((finished / "training.json").read_text())
    assert training["max_length"] == 32
    assert training["config"]["pooling"] == "mean"
    assert {"torch", "transformers", "python"} <= set(training["versions"])
    assert set(training["data_sha256"]) == {"train", "dev", "test", "labels"}
    assert training["data"]["also_in_train"]["test"] == 1
    assert training["started_at"] <= training["finished_at"]
    assert str(data_dir) not in json.dumps(training)


def test_the_tokenizer_keeps_no_truncation_or_padding(finished: Path) -> None:
    tokenizer = json.loads((finished / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None


def test_the_model_card_is_one_that_the_hub_reads(finished: Path) -> None:
    card = huggingface_hub.ModelCard.load(finished / "README.md")
    metrics = json.loads((finished / "metrics.json").read_text())
    assert card.data.pipeline_tag == "text-classification"
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found["macro F1, per label threshold"] == round(metrics["test"]["per_label"]["macro_f1"], 4)
    assert "1 also occur in train" in card.text.replace("\n", " ")


def test_results_hold_summary_metrics_plots_and_provenance(results: Path) -> None:
    plots = {"per_label_f1.png", "calibration.png", "confusion.png", "learning_curve.png"}
    tables = {"summary.txt", "metrics_train.json", "metrics_dev.json", "metrics_test.json", "training.json", "README.md"}
    assert {path.name for path in results.iterdir()} == plots | tables
    assert all((results / name).read_bytes().startswith(b"\x89PNG") for name in plots)


def test_the_summary_gives_micro_and_macro_f1_of_each_split(results: Path) -> None:
    lines = (results / "summary.txt").read_text().splitlines()
    for split, name in (("train", "train"), ("dev", "validation"), ("test", "test")):
        metrics = json.loads((results / f"metrics_{split}.json").read_text())["rules"]["per_label"]
        line = next(line for line in lines if line.startswith(name) and "per label" in line)
        assert f"{metrics['micro_f1']:.4f}" in line
        assert f"{metrics['macro_f1']:.4f}" in line


def test_the_view_repeats_the_summary_and_ranks_the_labels(results: Path) -> None:
    shown = view(results.parent)
    assert (results / "summary.txt").read_text() in shown
    table = json.loads((results / "metrics_test.json").read_text())["per_label"]
    ranked = sorted(table, key=lambda row: -row["f1"])
    assert ranked[0]["label"] in shown.partition("-- best")[2].partition("-- worst")[0]
    assert ranked[-1]["label"] in shown.partition("-- worst")[2]


def test_a_finished_model_is_evaluated_again_and_not_trained(config: TrainConfig, finished: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    written = run(replace(config, results_dir=str(tmp_path), seed=3, confidence_threshold=0.1))
    assert written is not None
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    again = json.loads((written / "metrics_test.json").read_text())["rules"]
    first = json.loads(before["metrics.json"])["test"]
    assert again["per_label"]["micro_f1"] == first["per_label"]["micro_f1"]
    assert again["fixed"]["micro_recall"] > first["fixed"]["micro_recall"]


def test_a_finished_model_refuses_data_with_other_labels(config: TrainConfig, finished: Path, tmp_path: Path) -> None:
    other = tiny_models.write_data(tmp_path / "other")
    (other / "labels.txt").write_text("".join(f"{label}\n" for label in reversed(tiny_models.LABELS)))
    with pytest.raises(CheckpointError, match="its labels are not those of the data"):
        run(replace(config, data=str(other)))


def test_force_train_starts_afresh(config: TrainConfig, tmp_path: Path) -> None:
    mine = replace(config, checkpoint_dir=str(tmp_path / "checkpoint"), results_dir=str(tmp_path / "results"), epochs=1)
    run(mine)
    first = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    run(replace(mine, seed=9, force_train=True))
    second = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert (first["config"]["seed"], second["config"]["seed"]) == (42, 9)
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_tensorboard_logs_stay(config: TrainConfig, tmp_path: Path) -> None:
    run(replace(config, checkpoint_dir=str(tmp_path / "checkpoint"), results_dir=str(tmp_path), epochs=1, disable_tensorboard=False))
    assert list((tmp_path / "checkpoint" / "run" / "tensorboard").rglob("events*"))
    assert checkpoint.is_finished(tmp_path / "checkpoint")


def test_a_finished_model_is_pushed_without_its_run(config: TrainConfig, finished: Path, tmp_path: Path) -> None:
    hub = FakeHub()
    run(replace(config, results_dir=str(tmp_path), hub_model_id="someone/emotions"), hub_api=hub)
    assert len(hub.pushed) == 1
    assert hub.pushed[0]["repo_id"] == "someone/emotions"
    assert hub.pushed[0]["folder_path"] == str(finished)
    assert "run/**" in hub.pushed[0]["ignore_patterns"]


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ValueError("bad name")], ids=["no-network", "bad-name"])
def test_a_failed_push_is_one_line_and_keeps_the_model(config: TrainConfig, finished: Path, tmp_path: Path, error: Exception) -> None:
    with pytest.raises(HubError, match=r"hub_model_id = 'x/y': .*the finished model is in") as caught:
        run(replace(config, results_dir=str(tmp_path), hub_model_id="x/y"), hub_api=FakeHub(error))
    assert "\n" not in str(caught.value)
    assert checkpoint.is_finished(finished)


def test_results_that_cannot_be_written_are_named(config: TrainConfig, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="file"):
        run(replace(config, results_dir=str(tmp_path / "file")))


def test_viewing_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".20260101.1.partial").mkdir()
    (tmp_path / ".20260101.1.partial" / "summary.txt").touch()
    with pytest.raises(ResultsError, match=r"holds no summary\.txt"):
        view(tmp_path)


def test_viewing_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "summary.txt").touch()
    (tmp_path / "metrics_test.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"metrics_test\.json: malformed"):
        view(tmp_path)
