from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Before any library reads them: no downloads, and no threads that fight over the machine's cores.
for name, value in {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}.items():
    os.environ.setdefault(name, value)

import pytest  # noqa: E402
import torch  # noqa: E402
from empathetic_train import model as train_model  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from tests.tiny_models import LABELS, Family, build_base, write_data  # noqa: E402

MAX_LENGTH = 48


def build_checkpoint(directory: Path, family: Family, pooling: str = "mean") -> Path:
    """Write a finished checkpoint around a tiny random model whose logits spread widely."""
    base = build_base(directory / "base", family)
    torch.manual_seed(1)
    model = train_model.from_base(str(base), labels=LABELS, pooling=pooling, dropout=None, head_bias=0.0)
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.5)
    checkpoint = directory / "checkpoint"
    checkpoint.mkdir()
    model.save(checkpoint)
    AutoTokenizer.from_pretrained(base).save_pretrained(checkpoint)
    write_json(checkpoint / "thresholds.json", {"per_label": dict.fromkeys(LABELS, 0.4), "single": 0.45, "fixed": 0.5})
    write_json(checkpoint / "metrics.json", {"test": {"per_label": {"micro_f1": 0.1, "macro_f1": 0.1}}})
    write_json(checkpoint / "training.json", {"max_length": MAX_LENGTH, "config": {"seed": 1}})
    return checkpoint


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """One checkpoint of each family, built once."""
    built: dict[Family, Path] = {}

    def get(family: Family) -> Path:
        if family not in built:
            built[family] = build_checkpoint(tmp_path_factory.mktemp(family), family, "first" if family == "roberta" else "mean")
        return built[family]

    return get
