"""The one configuration object of a training run, and where its values come from.

Precedence: flags > recipe file (TOML) > the defaults below. Paths are relative to the working directory, in a recipe too.
Knows nothing of torch, and touches no file but the recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no TOML reader of its own
    import tomli as tomllib


def _option(default: Any, text: str, *, choices: tuple[str, ...] | None = None) -> Any:
    """Declare a field that is at once a recipe key and a command-line flag."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a classifier run. The defaults are the tutorial's (DeBERTa-base, 5 epochs)."""

    model_name: str = _option(
        "microsoft/deberta-base", "base model: a Hub name, a local directory, or package:NAME/FOLDER of an installed Python package"
    )
    data: str | None = _option(None, "directory of train.tsv, dev.tsv, test.tsv and labels.txt (default: the Hub's go_emotions)")
    checkpoint_dir: str = _option("checkpoints/classifier", "where the trained model goes; an unfinished run in it is resumed")
    results_dir: str = _option("results", "where results/<timestamp>/ goes")
    learning_rate: float = _option(2e-5, "peak learning rate of the encoder's top layer")
    head_learning_rate: float | None = _option(None, "peak learning rate of the new head (default: the encoder's)")
    layer_decay: float = _option(1.0, "factor on the learning rate from each layer to the one below it, 0 to 1")
    weight_decay: float = _option(0.01, "AdamW weight decay (not on biases and norms)")
    warmup_ratio: float = _option(0.06, "share of the steps in which the learning rate rises")
    batch_size: int = _option(16, "texts per device and step")
    gradient_accumulation: int = _option(1, "steps whose gradients are added before an update")
    epochs: float = _option(5.0, "passes over the training split; 0 only keeps what --average gives")
    patience: int = _option(2, "epochs without a better dev score before training stops")
    max_length: int = _option(128, "longest text in tokens, special tokens included; the rest is cut")
    pooling: str = _option("first", "how token vectors become one text vector", choices=("first", "mean"))
    loss: str = _option("bce", "training loss", choices=("bce", "focal", "asymmetric"))
    label_smoothing: float = _option(0.0, "share of each target moved towards 0.5, 0 to 0.5")
    dropout: float | None = _option(None, "dropout of the encoder and before the head (default: the base model's)")
    head_bias: float = _option(-3.0, "initial bias of the head: sigmoid(-3) = 0.047 is near GoEmotions' mean label rate, 0.042")
    teachers: tuple[str, ...] = _option((), "trained checkpoints whose mean probabilities are distilled into this model")
    distill_weight: float = _option(0.7, "share of the teachers in the targets, 0 to 1; the labels have the rest")
    average: tuple[str, ...] = _option((), "trained checkpoints of the same base whose averaged weights are the start")
    confidence_threshold: float = _option(0.5, "the fixed threshold reported beside the fitted ones")
    seed: int = _option(42, "seed of initialisation, order and dropout")
    hub_model_id: str | None = _option(None, "Hub repository to push the finished model to")
    force_train: bool = _option(False, "train although checkpoint-dir holds a finished model")
    disable_tensorboard: bool = _option(False, "write no TensorBoard logs")

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigError: naming the first field that is wrong.
        """
        unit = ("layer_decay", "warmup_ratio", "distill_weight", "confidence_threshold", "dropout")
        positive = ("learning_rate", "head_learning_rate", "batch_size", "gradient_accumulation", "patience", "max_length")
        given = [item.name for item in dataclasses.fields(self) if getattr(self, item.name) is not None]
        checks = [(name, 0 <= getattr(self, name) <= 1, "must be between 0 and 1") for name in unit if name in given]
        checks += [(name, 0 < getattr(self, name) < math.inf, "must be above 0") for name in positive if name in given]
        checks += [("weight_decay", 0 <= self.weight_decay < math.inf, "must be 0 or above")]
        checks += [("epochs", 0 < self.epochs < math.inf or (self.epochs == 0 and bool(self.average)), "must be above 0")]
        checks += [("seed", 0 <= self.seed < 2**32, "must be between 0 and 2**32 - 1")]
        checks += [("max_length", self.max_length >= 3, "must leave room for a token between the two special ones")]
        checks += [("label_smoothing", 0 <= self.label_smoothing < 0.5, "must be between 0 and 0.5")]
        checks += [
            (item.name, getattr(self, item.name) in item.metadata["choices"], f"must be one of {', '.join(item.metadata['choices'])}")
            for item in dataclasses.fields(self)
            if item.metadata["choices"]
        ]
        for name, holds, reason in checks:
            if not holds:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: {reason}")


_BASE_TYPES: dict[str, type] = {"str": str, "float": float, "int": int, "bool": bool, "tuple[str, ...]": tuple}


def _base_type(item: dataclasses.Field[Any]) -> type:
    return _BASE_TYPES[str(item.type).removesuffix(" | None")]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of TrainConfig; an absent flag leaves no attribute, so that the recipe shows through."""
    for item in dataclasses.fields(TrainConfig):
        flag, kind = "--" + item.name.replace("_", "-"), _base_type(item)
        text = item.metadata["help"] + ("" if item.default in (None, (), False) else f" (default: {item.default})")
        common: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS, "help": text}
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
        elif kind is tuple:
            parser.add_argument(flag, nargs="+", metavar="DIR", **common)
        else:
            parser.add_argument(flag, type=kind, choices=item.metadata["choices"], **common)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe file and check its keys and types.

    Raises:
        ConfigError: the file is missing or not TOML, or a key or a type is wrong; the message names it.
    """
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"recipe {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"recipe {path}: {exc}") from exc
    fields = {item.name: item for item in dataclasses.fields(TrainConfig)}
    for key, value in recipe.items():
        if key not in fields:
            raise ConfigError(f"recipe {path}: unknown key {key!r}")
        kind = _base_type(fields[key])
        expected: Any = {tuple: list, float: (int, float)}.get(kind, kind)
        fits = isinstance(value, expected) and (kind is bool or not isinstance(value, bool))  # a bool is an int to Python
        if not fits or (kind is tuple and not all(isinstance(entry, str) for entry in value)):
            raise ConfigError(f"recipe {path}: {key} = {value!r} is not a {'list of strings' if kind is tuple else kind.__name__}")
        recipe[key] = kind(value)
    return recipe


def build_config(flags: argparse.Namespace, recipe: Path | None) -> TrainConfig:
    """Merge flags over the recipe over the defaults.

    Raises:
        ConfigError: a value is wrong.
    """
    names: Sequence[str] = [item.name for item in dataclasses.fields(TrainConfig)]
    given = {name: value for name, value in vars(flags).items() if name in names}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return TrainConfig(**{**(read_recipe(recipe) if recipe else {}), **given})
