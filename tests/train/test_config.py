from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from empathetic_train.config import TrainConfig, add_flags, build_config, read_recipe
from empathetic_train.errors import ConfigError
from empathetic_train.responder.config import ResponderConfig

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


def parse(*arguments: str, recipe: Path | None = None) -> TrainConfig:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return build_config(parser.parse_args(arguments), recipe)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('batch_size = 8\nlearning_rate = 1\nteachers = ["a", "b"]\nforce_train = true\n')
    return path


def test_defaults_are_the_tutorials() -> None:
    config = parse()
    assert (config.model_name, config.learning_rate, config.batch_size) == ("microsoft/deberta-base", 2e-5, 16)
    assert (config.epochs, config.max_length, config.confidence_threshold) == (5, 128, 0.5)


def test_recipe_overrides_defaults(recipe: Path) -> None:
    config = parse(recipe=recipe)
    assert (config.batch_size, config.learning_rate, config.teachers, config.force_train) == (8, 1.0, ("a", "b"), True)
    assert isinstance(config.learning_rate, float)


def test_flags_override_recipe(recipe: Path) -> None:
    config = parse("--batch-size", "4", "--teachers", "c", "--no-force-train", recipe=recipe)
    assert (config.batch_size, config.teachers, config.force_train, config.learning_rate) == (4, ("c",), False, 1.0)


def test_layers_are_numbers_in_recipe_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "layers.toml"
    path.write_text("layers = [0, 2]\n")
    assert parse(recipe=path).layers == (0, 2)
    assert parse("--layers", "1", "3", recipe=path).layers == (1, 3)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    kind = ResponderConfig if path.stem.startswith("responder-") else TrainConfig
    kind(**read_recipe(path, kind))


def test_the_recipes_are_the_documented_ones() -> None:
    classifier = {"minilm-cpu.toml", "minilm-cpu-student.toml", "minilm-cpu-fast.toml", "deberta-gpu.toml", "tiny.toml"}
    responder = {"responder-cpu.toml", "responder-gpu.toml", "responder-tiny.toml"}
    assert {path.name for path in RECIPES.iterdir()} == classifier | responder


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("learnig_rate = 1.0", "unknown key 'learnig_rate'"),
        ("batch_size = 1.5", "batch_size = 1.5 is not a int"),
        ("batch_size = true", "batch_size = True is not a int"),
        ("teachers = 'x'", "teachers = 'x' is not a list of strings"),
        ("teachers = [1]", "teachers = [1] is not a list of strings"),
        ("layers = ['1']", "layers = ['1'] is not a list of numbers"),
        ("seed = x", "line 1"),
    ],
    ids=["unknown-key", "wrong-type", "bool-for-int", "string-for-list", "numbers-for-strings", "strings-for-numbers", "not-toml"],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file"):
        read_recipe(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"head_learning_rate": -1.0},
        {"batch_size": 0},
        {"epochs": 0.0},
        {"epochs": -1.0, "average": ("x",)},
        {"max_length": 2},
        {"confidence_threshold": 1.5},
        {"label_smoothing": 0.5},
        {"dropout": 1.1},
        {"weight_decay": -0.1},
        {"pooling": "max"},
        {"loss": "hinge"},
        {"seed": -1},
        {"layers": (2, 1)},
        {"layers": (-1, 1)},
        {"feed_forward": 0},
        {"embedding_weight": -1.0, "teachers": ("a",)},
        {"embedding_weight": 1.0},
        {"unlabelled": "texts.txt"},
    ],
    ids=lambda wrong: "-".join(f"{name}={value}" for name, value in wrong.items()),
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_no_epochs_are_enough_for_an_average() -> None:
    assert TrainConfig(epochs=0, average=("a", "b")).epochs == 0
