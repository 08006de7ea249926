"""Whole runs of the tiny recipe on invented data."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from empathetic_train import checkpoint
from empathetic_train.config import read_recipe
from empathetic_train.errors import CheckpointError, ConfigError
from empathetic_train.responder import model, perplexity
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.conversations import Turn
from empathetic_train.responder.examples import Example
from empathetic_train.responder.run import run
from empathetic_train.responder.tokenizer import load_tokenizer
from empathetic_train.training import last_checkpoint
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:mtime may not be reliable:UserWarning",  # the Trainer distrusts modification times less than a second apart
)


@pytest.fixture(autouse=True)
def _informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "empathetic_train")  # as the command sets it


class Killed(BaseException):
    """Stands for what ends a process."""


def test_a_run_writes_a_model_that_transformers_reads_and_its_figures(config: ResponderConfig) -> None:
    metrics = json.loads(run(config).read_text())
    directory = Path(config.checkpoint_dir)
    assert set(metrics) == {"pretrained", "tuned"}
    assert set(metrics["tuned"]) == {"held_out"}
    assert metrics["tuned"]["held_out"]["perplexity_per_token"] < metrics["pretrained"]["held_out"]["perplexity_per_token"]
    weights = load_file(directory / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in weights
    tokenizer = AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hello."}], add_generation_prompt=True, return_tensors="pt")
    spoken = AutoModelForCausalLM.from_pretrained(directory).generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=5)
    assert spoken.shape[1] > prompt.shape[1]
    settings = json.loads((directory / "config.json").read_text())
    assert settings["use_cache"] is True
    assert (settings["vocab_size"], settings["max_position_embeddings"], settings["head_dim"]) == (400, 128, 64)
    assert {path.name for path in directory.iterdir() if path.is_dir()} == {"pretrained"}
    assert "finished" in (directory / "train.log").read_text()
    record = json.loads((directory / "training.json").read_text())
    assert record["parameters"] > 10_000
    assert str(config.data) not in json.dumps(record)


def test_the_model_before_fine_tuning_is_kept_as_a_finished_checkpoint(config: ResponderConfig) -> None:
    metrics = json.loads(run(config).read_text())
    directory = Path(config.checkpoint_dir)
    baseline = directory / "pretrained"
    assert checkpoint.is_finished(baseline)
    assert json.loads((baseline / "metrics.json").read_text()) == {"pretrained": metrics["pretrained"]}
    assert (baseline / "held_out.jsonl").read_bytes() == (directory / "held_out.jsonl").read_bytes()
    tokenizer, rows = load_tokenizer(baseline), [json.loads(line) for line in (baseline / "held_out.jsonl").read_text().splitlines()]
    assert len(rows) == metrics["pretrained"]["held_out"]["replies"]
    before, after = (load_file(folder / "model.safetensors") for folder in (baseline, directory))
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert len(tokenizer) == json.loads((baseline / "config.json").read_text())["vocab_size"]
    run(replace(config, seed=2, force_train=True))  # takes the place of a whole finished one
    assert checkpoint.is_finished(baseline)


def test_a_finished_model_is_not_trained_again(config: ResponderConfig) -> None:
    run(config)
    weights = Path(config.checkpoint_dir) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    run(replace(config, seed=2))
    assert weights.stat().st_mtime_ns == before
    run(replace(config, seed=2, force_train=True))
    assert weights.stat().st_mtime_ns != before


def test_a_killed_run_ends_as_one_that_was_left_alone(config: ResponderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(config, checkpoint_dir=str(tmp_path / "whole"))
    run(whole)
    killing = replace(config, save_minutes=1e-9)
    original: Callable[..., None] = Trainer._save_checkpoint
    for stage, checkpoints in (("pretrain", 5), ("tune", 9), ("tune", 12)):
        seen = 0

        def save(trainer: Trainer, *arguments: object, stage: str = stage, checkpoints: int = checkpoints) -> None:
            nonlocal seen
            original(trainer, *arguments)
            seen += stage in trainer.args.output_dir
            if seen and trainer.state.global_step >= checkpoints:
                raise Killed

        monkeypatch.setattr(Trainer, "_save_checkpoint", save)
        with pytest.raises(Killed):
            run(killing)
        directory = Path(config.checkpoint_dir)
        assert not checkpoint.is_finished(directory)
        assert {path.name for path in directory.iterdir()} == {"run", "train.log"}
        assert (directory / "run" / "pretrained").is_dir() == (stage == "tune")
        newest = last_checkpoint(directory / "run" / stage)
        assert newest is not None
        half = newest.with_name("checkpoint-1000")
        # As a kill in the middle of writing leaves it: without the state, which is written last.
        shutil.copytree(newest, half, dirs_exist_ok=True)
        (half / "trainer_state.json").unlink()
    monkeypatch.undo()
    run(config)
    assert "resuming from" in (directory / "train.log").read_text()
    first, second = (load_file(Path(place) / "model.safetensors") for place in (config.checkpoint_dir, whole.checkpoint_dir))
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_other_settings_do_not_resume(config: ResponderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", fail)
    with pytest.raises(Killed):
        run(replace(config, save_minutes=1e-9))
    with pytest.raises(ConfigError, match=r"layers = 2, not 3: .*--force-train"):
        run(replace(config, layers=3))


def test_the_test_split_is_measured_only_when_asked_for(config: ResponderConfig) -> None:
    metrics = json.loads(run(replace(config, evaluate_test=True, pretrain_epochs=0.0, tune_epochs=0.1)).read_text())
    assert set(metrics["tuned"]) == {"held_out", "test"}
    assert metrics["tuned"]["test"]["replies"] == 12


def test_the_test_split_of_a_finished_model_is_measured_without_training(config: ResponderConfig) -> None:
    short = replace(config, tune_epochs=0.1)
    directory = Path(config.checkpoint_dir)
    before = json.loads(run(short).read_text())
    weights = (directory / "model.safetensors").read_bytes()
    metrics = json.loads(run(replace(short, evaluate_test=True)).read_text())
    assert metrics["tuned"]["held_out"] == before["tuned"]["held_out"]
    assert metrics["tuned"]["test"]["replies"] == 12
    assert json.loads((directory / "pretrained" / "metrics.json").read_text())["pretrained"]["test"]["replies"] == 12
    assert (directory / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("name", ["responder-cpu", "responder-gpu"])
def test_the_shipped_recipes_train_at_small_scale(config: ResponderConfig, root: Path, name: str) -> None:
    """What a recipe sets beyond sizes is kept: optimizer, dropout, rates, epochs; its sizes are the tiny recipe's."""
    recipe = read_recipe(root / "train" / "recipes" / f"{name}.toml", ResponderConfig)
    sizes = {"vocabulary", "width", "layers", "key_value_heads", "feed_forward", "batch_rows", "book_characters", "task_dialogues"}
    kept = {key: value for key, value in recipe.items() if key not in sizes}
    assert kept["optimizer"] == "muon"
    metrics = json.loads(run(replace(config, **kept)).read_text())
    assert metrics["tuned"]["held_out"]["perplexity_per_token"] < 400  # which a model that has learned nothing has: the vocabulary


def test_tensorboard_logs_stay(config: ResponderConfig) -> None:
    run(replace(config, disable_tensorboard=False, pretrain_epochs=0.1, tune_epochs=0.1))
    logs = Path(config.checkpoint_dir) / "run" / "tensorboard"
    assert all(list((logs / stage).glob("events*")) for stage in ("pretrain", "tune"))


def test_data_and_classifier_are_needed(config: ResponderConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data = None"):
        run(replace(config, data=None))
    with pytest.raises(CheckpointError, match="not an exported classifier"):
        run(replace(config, classifier=str(tmp_path)))


def test_perplexity_is_the_mean_over_what_it_says(config: ResponderConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    built = model.build(config, tokenizer)
    for parameter in built.parameters():
        parameter.data.zero_()  # every token is as likely as any other
    example = Example((Turn("user", "Hello."),), "Oh, a goat!", "chat")
    measured = perplexity.measure(built, tokenizer, [example, example], title="test")
    assert measured["perplexity_per_token"] == pytest.approx(len(tokenizer), rel=1e-4)
    assert (measured["replies"], measured["words"]) == (2, 2 * 6)
    assert measured["perplexity_per_word"] == pytest.approx(math.exp(measured["tokens"] * math.log(len(tokenizer)) / 12), rel=1e-3)


def test_a_tokenizer_of_an_unfinished_run_is_kept(config: ResponderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(Trainer, "train", fail)
    with pytest.raises(Killed):
        run(config)
    kept = load_tokenizer(Path(config.checkpoint_dir) / "run" / "tokenizer")
    assert len(kept) == 400


def test_held_out_replies_are_beside_the_model_and_are_found_again_without_training(config: ResponderConfig) -> None:
    run(config)
    directory = Path(config.checkpoint_dir)
    path = directory / "held_out.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    measured = json.loads((directory / "metrics.json").read_text())["tuned"]["held_out"]
    assert len(rows) == measured["replies"]
    assert sum(row["words"] + 1 for row in rows) == measured["words"]
    assert all([message["role"] for message in row["messages"]][:2] == ["system", "user"] for row in rows)
    kept, weights = path.read_bytes(), (directory / "model.safetensors").read_bytes()
    path.unlink()
    run(config)
    assert path.read_bytes() == kept
    assert (directory / "model.safetensors").read_bytes() == weights
