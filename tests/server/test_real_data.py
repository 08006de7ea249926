"""Decisions through HTTP against the same model offline, on texts that people wrote. Needs EMPATHETIC_DATA."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from tests.server.test_serve import address  # noqa: F401  # the same fixture

pytestmark = pytest.mark.slow


def test_decisions_through_http_are_those_offline_text_by_text(address: str, data_dir: Path, root: Path) -> None:  # noqa: F811
    directory = root / "model_repository" / "emotion_classifier"
    manifest = json.loads((directory / "manifest.json").read_text())
    lines = (data_dir / "goemotions" / "test.tsv").read_text(encoding="utf-8").split("\n")
    texts = [line.split("\t")[0] for line in lines if line][:1024]
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(manifest["max_length"])
    session = onnxruntime.InferenceSession(directory / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    response = httpx2.post(f"{address}/v1/emotions", json={"input": texts, "scores": True}, timeout=120)
    for text, entry in zip(texts, response.json()["data"], strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        [logits] = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
        offline = 1 / (1 + np.exp(-logits.astype(np.float64)))
        np.testing.assert_allclose(list(entry["scores"].values()), offline, atol=1e-4)
        decided = {label for label, score, limit in zip(manifest["labels"], offline, manifest["thresholds"], strict=True) if score >= limit}
        served = {emotion["label"] for emotion in entry["emotions"]} if entry["confident"] else set()
        # A score within rounding of its threshold may fall either way.
        edge = {
            label
            for label, score, limit in zip(manifest["labels"], offline, manifest["thresholds"], strict=True)
            if abs(score - limit) < 1e-4
        }
        assert decided - edge == served - edge


def test_every_naughty_string_is_answered_and_none_with_a_5xx(address: str, data_dir: Path) -> None:  # noqa: F811
    strings = json.loads((data_dir / "hostile" / "blns.json").read_text(encoding="utf-8"))
    filled = [text for text in strings if text.strip()]
    together = httpx2.post(f"{address}/v1/emotions", json={"input": filled}, timeout=120)
    assert (together.status_code, len(together.json()["data"])) == (200, len(filled))
    for text in strings:
        alone = httpx2.post(f"{address}/v1/emotions", json={"input": text}, timeout=60)
        assert alone.status_code == (200 if text.strip() else 422)
