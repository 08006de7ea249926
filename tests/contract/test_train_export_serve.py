"""The stages meet at files: what one writes, the next one reads."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from empathetic_export import pipeline
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import Manifest, read_manifest
from empathetic_server.metrics import Metrics

from tests.tiny_models import LABELS, build_base, sentences

pytestmark = pytest.mark.slow


def test_the_server_reads_the_manifest_that_export_writes(checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "scratch").mkdir()
    pipeline.export(
        checkpoint_of("bert"),
        data=data,
        repository=tmp_path / "repository",
        precision="fp32",
        scratch=tmp_path / "scratch",
    )
    manifest = read_manifest(tmp_path / "repository")
    assert (manifest.labels, manifest.thresholds, manifest.precision) == (LABELS, (0.4,) * 28, "fp32")


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta"])
def test_a_model_is_trained_exported_and_served(family, root: Path, data: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    base, checkpoint, repository = build_base(tmp_path / "base", family), tmp_path / "checkpoint", tmp_path / "repository"
    recipe = root / "train" / "recipes" / "tiny.toml"
    train = ["empathetic_train", "classifier", "--recipe", recipe, "--model-name", base, "--data", data, "--checkpoint-dir", checkpoint]
    run(root, *train, "--results-dir", tmp_path / "results", "--epochs", "1")
    run(root, "empathetic_export", checkpoint, "--data", data, "--output", repository)
    manifest = read_manifest(repository)
    assert manifest.precision == "int8"
    texts = [text for text, _ in sentences(40, seed=9)]
    together, alone = asyncio.run(scores(manifest, texts))
    np.testing.assert_allclose(together, alone, atol=1e-4)
    decided = json.loads((checkpoint / "thresholds.json").read_text())["per_label"]
    assert dict(zip(manifest.labels, manifest.thresholds, strict=True)) == pytest.approx(decided)


async def scores(manifest: Manifest, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Score texts in one request, and each in its own."""
    engine = EmbeddedClassifier(manifest, threads=1, max_batch_tokens=256, max_queued_texts=100, metrics=Metrics())
    together = await engine.classify(texts, priority="bulk", timeout_s=60)
    alone = [(await engine.classify([text], priority="bulk", timeout_s=60)).probabilities for text in texts]
    await engine.aclose()
    return together.probabilities, np.concatenate(alone)


def run(root: Path, module: str, *arguments: str | Path) -> None:
    paths = os.pathsep.join(str(root / folder) for folder in ("train", "export"))
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
