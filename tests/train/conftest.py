"""Fixtures of the training tests: tiny base models and invented data. Nothing here reaches a network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before any library reads them: no downloads, and no threads that fight over the machine's cores.
for name, value in {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}.items():
    os.environ.setdefault(name, value)

import pytest  # noqa: E402
import torch  # noqa: E402

from tests import tiny_models  # noqa: E402

ROOT = Path(__file__).parents[2]
FAST = {
    "learning_rate": 5e-3,
    "head_learning_rate": 2e-2,
    "pooling": "mean",
    "max_length": 32,
    "disable_tensorboard": True,
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fast() -> dict[str, Any]:
    """Settings with which a tiny model learns in a second."""
    return dict(FAST)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tiny_models.Family], Path]:
    """Return a function from a family to its tiny base model, built once."""
    built: dict[str, Path] = {}

    def build(family: tiny_models.Family) -> Path:
        if family not in built:
            built[family] = tiny_models.build_base(tmp_path_factory.mktemp(family), family)
        return built[family]

    return build


@pytest.fixture(scope="session")
def bert(base: Callable[[tiny_models.Family], Path]) -> Path:
    return base("bert")


@pytest.fixture(scope="session")
def teacher(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose head is random, with its tokenizer."""
    from empathetic_train.model import from_base, load_tokenizer  # noqa: PLC0415  # after the environment above is set

    directory = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(1)
    from_base(str(bert), labels=tiny_models.LABELS, pooling="mean", dropout=None, head_bias=-3.0).save(directory)
    load_tokenizer(str(bert)).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def command() -> list[str]:
    return [sys.executable, "-m", "empathetic_train", "classifier"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a subprocess: this package, no network and an empty Hub cache."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "train"), "HF_HOME": str(tmp_path_factory.mktemp("hub")), "HF_HUB_OFFLINE": "1"}
