from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from empathetic_bench.quality import _f1, _scores


def test_f1_is_counted_by_hand() -> None:
    decisions = np.array([[1, 0], [1, 1], [0, 0]], bool)
    targets = np.array([[1, 0], [0, 1], [0, 1]], bool)
    scores = _scores(decisions, targets)
    assert scores["micro_f1"]["value"] == pytest.approx(2 * 2 / (3 + 3))
    assert scores["macro_f1"]["value"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores["micro_f1"]["low"] <= scores["micro_f1"]["value"] <= scores["micro_f1"]["high"]


def test_a_label_that_is_nowhere_counts_as_zero() -> None:
    assert _f1(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))["macro_f1"][0] == 0.5


@pytest.mark.parametrize(("repository", "result"), [("model_repository", "quality.json"), ("models/fast", "quality-fast.json")])
def test_the_committed_figures_are_of_the_committed_models(root: Path, repository: str, result: str) -> None:
    manifest = json.loads((root / repository / "emotion_classifier" / "manifest.json").read_text())
    measured = json.loads((root / "benchmarks" / "results" / result).read_text())
    assert measured["model_sha256"] == manifest["files"]["1/model.onnx"]
