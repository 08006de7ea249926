"""Fixtures of the responder's tests: invented dialogues, a tokenizer trained on them, and the committed classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from empathetic_train.config import read_recipe
from empathetic_train.responder import documents, sources
from empathetic_train.responder.config import ResponderConfig
from empathetic_train.responder.sources import Sources
from empathetic_train.responder.tokenizer import train_tokenizer
from transformers import PreTrainedTokenizerFast

from tests import tiny_dialogues

ROOT = Path(__file__).parents[3]
READING: dict[str, Any] = {"held_out_percent": 20, "book_characters": 1000, "task_dialogues": 5, "with_test": False, "seed": 1}


@pytest.fixture(scope="session")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dialogues.write_dialogues(tmp_path_factory.mktemp("dialogues") / "data")


@pytest.fixture(scope="session")
def found(dialogues: Path) -> Sources:
    return sources.read(dialogues, **READING)


@pytest.fixture(scope="session")
def tokenizer(found: Sources) -> PreTrainedTokenizerFast:
    texts = [documents.conversation_text(conversation) for conversation in found.conversations]
    return train_tokenizer(documents.tokenizer_texts(texts, ["sadness"]), vocabulary=420, window=128)


@pytest.fixture
def config(dialogues: Path, tmp_path: Path) -> ResponderConfig:
    """The tiny recipe on invented data."""
    recipe = read_recipe(ROOT / "train" / "recipes" / "responder-tiny.toml", ResponderConfig)
    places = {"data": str(dialogues), "checkpoint_dir": str(tmp_path / "checkpoint"), "cache_dir": str(tmp_path / "cache")}
    return ResponderConfig(**recipe, **places, classifier=str(ROOT / "model_repository" / "emotion_classifier"))
