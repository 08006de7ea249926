"""`empathetic-bench quality`: F1 of the committed artifact on a split, by ONNX Runtime, at the manifest's thresholds.

Chooses nothing: thresholds come from the manifest, where training put what it had fitted on dev.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import environment, report
from .offline import onnx_target
from .texts import Texts, goemotions

_RESAMPLES = 2000
_BATCH = 32


def run(model: Path, data: Path, split: str, output: Path) -> dict[str, Any]:
    """Evaluate the artifact in `model` on a split, and write the result file.

    Raises:
        OSError: the data or the artifact is missing.
    """
    manifest = json.loads((model / "manifest.json").read_text())
    texts = goemotions(data, split)
    labels: list[str] = manifest["labels"]
    targets = _targets(data, split, len(labels))
    probabilities = _probabilities(model, texts)
    rules = {"per_label": np.array(manifest["thresholds"]), "single": manifest["single_threshold"], "fixed": 0.5}
    decisions = probabilities >= rules["per_label"]
    content = {
        "benchmark": "quality",
        **environment.describe(("onnxruntime", "tokenizers", "numpy")),
        "model_sha256": manifest["files"]["1/model.onnx"],
        "precision": manifest["precision"],
        "texts": {"name": texts.name, "count": len(texts.texts), "sha256": texts.sha256},
        "rules": {name: _scores(probabilities >= threshold, targets) for name, threshold in rules.items()},
        "labels": [_label_row(*row) for row in zip(labels, manifest["thresholds"], decisions.T, targets.T, strict=True)],
    }
    if split in manifest["metrics"]:
        content["checkpoint"] = {key: manifest["metrics"][split]["per_label"][key] for key in ("micro_f1", "macro_f1")}
    report.write(output, content)
    return content


def _targets(data: Path, split: str, label_count: int) -> NDArray[np.bool_]:
    lines = [line for line in (data / f"{split}.tsv").read_text(encoding="utf-8").split("\n") if line]
    targets = np.zeros((len(lines), label_count), dtype=bool)
    for row, line in enumerate(lines):
        targets[row, [int(label) for label in line.split("\t")[1].split(",")]] = True
    return targets


def _probabilities(model: Path, texts: Texts) -> NDArray[np.float64]:
    target = onnx_target(model, os.cpu_count() or 1)
    order = sorted(range(len(texts.texts)), key=lambda index: len(texts.texts[index]))
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    scored = np.concatenate([target([texts.texts[index] for index in batch]) for batch in batches])
    probabilities: NDArray[np.float64] = np.empty_like(scored)
    probabilities[order] = scored
    return probabilities


def _scores(decisions: NDArray[np.bool_], targets: NDArray[np.bool_]) -> dict[str, Any]:
    """Return micro and macro F1, each with a 95 % percentile bootstrap interval over texts (seeded)."""
    hits, sizes = decisions & targets, decisions.astype(np.int32) + targets
    generator = np.random.default_rng(0)
    # Drawing texts with replacement is weighting each by how often it was drawn.
    weights = generator.multinomial(len(targets), np.full(len(targets), 1 / len(targets)), size=_RESAMPLES).astype(np.float64)
    drawn = _f1(weights @ hits, weights @ sizes)
    value = _f1(hits.sum(axis=0, keepdims=True).astype(float), sizes.sum(axis=0, keepdims=True).astype(float))
    return {
        name: {
            "value": float(value[name][0]),
            "low": float(np.percentile(drawn[name], 2.5)),
            "high": float(np.percentile(drawn[name], 97.5)),
        }
        for name in ("micro_f1", "macro_f1")
    }


def _f1(hits: NDArray[np.float64], sizes: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return F1 from counts (samples, labels): hits, and decisions plus targets; a label that is nowhere counts as 0."""
    macro = (2 * hits / np.maximum(sizes, 1)).mean(axis=1)
    return {"micro_f1": 2 * hits.sum(axis=1) / np.maximum(sizes.sum(axis=1), 1), "macro_f1": macro}


def _label_row(label: str, threshold: float, decisions: NDArray[np.bool_], targets: NDArray[np.bool_]) -> dict[str, Any]:
    hits = int((decisions & targets).sum())
    return {
        "label": label,
        "threshold": threshold,
        "precision": hits / max(1, int(decisions.sum())),
        "recall": hits / max(1, int(targets.sum())),
        "f1": 2 * hits / max(1, int(decisions.sum() + targets.sum())),
        "support": int(targets.sum()),
    }
