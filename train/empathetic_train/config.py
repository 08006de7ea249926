"""The one configuration object of a training run, and where its values come from.

Precedence: flags > recipe file (TOML) > the defaults below. Paths are relative to the working directory, in a recipe too.
The responder has an object of its own, made by the same functions. Knows nothing of torch, and touches no file but the recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no TOML reader of its own
    import tomli as tomllib


def option(default: Any, text: str, *, choices: tuple[str, ...] | None = None) -> Any:
    """Declare a field that is at once a recipe key and a command-line flag."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a classifier run. The defaults are the tutorial's (DeBERTa-base, 5 epochs)."""

    model_name: str = option(
        "microsoft/deberta-base", "base model: a Hub name, a local directory, or package:NAME/FOLDER of an installed Python package"
    )
    data: str | None = option(None, "directory of train.tsv, dev.tsv, test.tsv and labels.txt (default: the Hub's go_emotions)")
    checkpoint_dir: str = option("checkpoints/classifier", "where the trained model goes; an unfinished run in it is resumed")
    results_dir: str = option("results", "where results/<timestamp>/ goes")
    learning_rate: float = option(2e-5, "peak learning rate of the encoder's top layer")
    head_learning_rate: float | None = option(None, "peak learning rate of the new head (default: the encoder's)")
    layer_decay: float = option(1.0, "factor on the learning rate from each layer to the one below it, 0 to 1")
    weight_decay: float = option(0.01, "AdamW weight decay (not on biases and norms)")
    warmup_ratio: float = option(0.06, "share of the steps in which the learning rate rises")
    batch_size: int = option(16, "texts per device and step")
    gradient_accumulation: int = option(1, "steps whose gradients are added before an update")
    epochs: float = option(5.0, "passes over the training split; 0 only keeps what --average gives")
    patience: int = option(2, "epochs without a better dev score before training stops")
    max_length: int = option(128, "longest text in tokens, special tokens included; the rest is cut")
    pooling: str = option("first", "how token vectors become one text vector", choices=("first", "mean"))
    loss: str = option("bce", "training loss", choices=("bce", "focal", "asymmetric"))
    label_smoothing: float = option(0.0, "share of each target moved towards 0.5, 0 to 0.5")
    dropout: float | None = option(None, "dropout of the encoder and before the head (default: the base model's)")
    head_bias: float = option(-3.0, "initial bias of the head: sigmoid(-3) = 0.047 is near GoEmotions' mean label rate, 0.042")
    teachers: tuple[str, ...] = option((), "trained checkpoints whose mean probabilities are distilled into this model")
    distill_weight: float = option(0.7, "share of the teachers in the targets, 0 to 1; the labels have the rest")
    average: tuple[str, ...] = option((), "trained checkpoints of the same base whose averaged weights are the start")
    layers: tuple[int, ...] = option((), "encoder layers of the start that are kept, counted from 0 (default: all)")
    feed_forward: int | None = option(None, "feed-forward neurons that each layer keeps, those that add most (default: all)")
    unlabelled: str | None = option(None, "file of texts, one a line, on which the teachers alone are followed")
    embedding_weight: float = option(0.0, "weight of the pooled vector's squared distance from the teachers', in units of its variance")
    confidence_threshold: float = option(0.5, "the fixed threshold reported beside the fitted ones")
    seed: int = option(42, "seed of initialisation, order and dropout")
    hub_model_id: str | None = option(None, "Hub repository to push the finished model to")
    force_train: bool = option(False, "train although checkpoint-dir holds a finished model")
    disable_tensorboard: bool = option(False, "write no TensorBoard logs")

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            ConfigError: naming the first field that is wrong.
        """
        unit = ("layer_decay", "warmup_ratio", "distill_weight", "confidence_threshold", "dropout")
        positive = ("learning_rate", "head_learning_rate", "batch_size", "gradient_accumulation", "patience", "max_length", "feed_forward")
        given = [item.name for item in dataclasses.fields(self) if getattr(self, item.name) is not None]
        checks = [(name, 0 <= getattr(self, name) <= 1, "must be between 0 and 1") for name in unit if name in given]
        checks += [(name, 0 < getattr(self, name) < math.inf, "must be above 0") for name in positive if name in given]
        checks += [(name, 0 <= getattr(self, name) < math.inf, "must be 0 or above") for name in ("weight_decay", "embedding_weight")]
        checks += [("layers", all(low < high for low, high in pairwise((-1, *self.layers))), "must be rising numbers from 0")]
        needs_teachers = (("unlabelled", self.unlabelled), ("embedding_weight", self.embedding_weight))
        checks += [(name, bool(self.teachers), "needs teachers") for name, value in needs_teachers if value]
        checks += [("epochs", 0 < self.epochs < math.inf or (self.epochs == 0 and bool(self.average)), "must be above 0")]
        checks += [("seed", 0 <= self.seed < 2**32, "must be between 0 and 2**32 - 1")]
        checks += [("max_length", self.max_length >= 3, "must leave room for a token between the two special ones")]
        checks += [("label_smoothing", 0 <= self.label_smoothing < 0.5, "must be between 0 and 0.5")]
        checks += [
            (item.name, getattr(self, item.name) in item.metadata["choices"], f"must be one of {', '.join(item.metadata['choices'])}")
            for item in dataclasses.fields(self)
            if item.metadata["choices"]
        ]
        refuse_first(self, checks)


Config = TypeVar("Config")
Check = tuple[str, bool, str]


def refuse_first(config: Any, checks: Sequence[Check]) -> None:
    """Raise for the first check that fails; a check is a field's name, whether it holds, and what it asks for.

    Raises:
        ConfigError: naming the field.
    """
    for name, holds, reason in checks:
        if not holds:
            raise ConfigError(f"{name} = {getattr(config, name)!r}: {reason}")


_BASE_TYPES: dict[str, type] = {"str": str, "float": float, "int": int, "bool": bool}


def _base_type(item: dataclasses.Field[Any]) -> type:
    """Return a field's type, or tuple; `_entry_type` says of what."""
    return tuple if str(item.type).startswith("tuple[") else _BASE_TYPES[str(item.type).removesuffix(" | None")]


def _entry_type(item: dataclasses.Field[Any]) -> type:
    return _BASE_TYPES[str(item.type).removeprefix("tuple[").removesuffix(", ...]")]


def add_flags(parser: argparse.ArgumentParser, kind: type[Any] = TrainConfig) -> None:
    """Add one flag per field of a configuration; an absent flag leaves no attribute, so that the recipe shows through."""
    for item in dataclasses.fields(kind):
        flag, base = "--" + item.name.replace("_", "-"), _base_type(item)
        text = item.metadata["help"] + ("" if item.default in (None, (), False) else f" (default: {item.default})")
        common: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS, "help": text}
        if base is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
        elif base is tuple:
            entry = _entry_type(item)
            parser.add_argument(flag, nargs="+", type=entry, metavar="DIR" if entry is str else "N", **common)
        else:
            parser.add_argument(flag, type=base, choices=item.metadata["choices"], **common)


def read_recipe(path: Path, kind: type[Any] = TrainConfig) -> dict[str, Any]:
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
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key, value in recipe.items():
        if key not in fields:
            raise ConfigError(f"recipe {path}: unknown key {key!r}")
        base = _base_type(fields[key])
        expected: Any = {tuple: list, float: (int, float)}.get(base, base)
        fits = isinstance(value, expected) and (base is bool or not isinstance(value, bool))  # a bool is an int to Python
        if not fits or (base is tuple and not all(type(entry) is _entry_type(fields[key]) for entry in value)):
            named = {str: "list of strings", int: "list of numbers"}[_entry_type(fields[key])] if base is tuple else base.__name__
            raise ConfigError(f"recipe {path}: {key} = {value!r} is not a {named}")
        recipe[key] = base(value)
    return recipe


def build_config(flags: argparse.Namespace, recipe: Path | None) -> TrainConfig:
    """Merge flags over the recipe over the defaults.

    Raises:
        ConfigError: a value is wrong.
    """
    return merge(flags, recipe, TrainConfig)


def merge(flags: argparse.Namespace, recipe: Path | None, kind: type[Config]) -> Config:
    """Do what `build_config` does, for any configuration whose fields are made by `option`.

    Raises:
        ConfigError: a value is wrong.
    """
    names: Sequence[str] = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]  # a dataclass, as said
    given = {name: value for name, value in vars(flags).items() if name in names}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return kind(**{**(read_recipe(recipe, kind) if recipe else {}), **given})
