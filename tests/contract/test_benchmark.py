"""The benchmark as its users run it, small: real server, real peers, the committed model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from empathetic_bench.classifier_cases import OPEN, ROWS
from empathetic_bench.infinity_server import write_model


@pytest.mark.slow
def test_every_case_is_measured_on_the_same_texts_and_written_down(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "classifier.json"
    paths = os.pathsep.join(str(root / folder) for folder in ("server", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": paths, "EMPATHETIC_SERVER_PYTHON": sys.executable}
    # Their rows are measured as the server's are; that Triton starts and answers is test_measuring.py's.
    environment |= {"EMPATHETIC_TRITON_PYTHON": "", "EMPATHETIC_INFINITY_PYTHON": ""}
    command = [sys.executable, "-m", "empathetic_bench", "classifier", "--rounds", "1", "--texts", "64", "--output", str(output)]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    content = json.loads(output.read_text())
    assert content["parity_max_difference"] <= 1e-4
    assert str(tmp_path) not in output.read_text()
    assert {case["name"] for case in content["cases"]} == {name for name in ROWS if "infinity" not in name and "triton" not in name}
    for case in content["cases"]:
        [one] = case["rounds"]
        assert one["errors"] == 0
        assert one["latencies_ms"]
        if case["name"] not in OPEN:
            assert one["texts"] == 64
            assert f"| {case['shape']} |" in result.stdout
    assert f"| {ROWS['infinity-bulk']} | not measured yet |" in result.stdout
    assert len(content["start_s"]) == 1


def test_infinity_gets_a_classifier_of_the_committed_models_shape(root: Path, tmp_path: Path) -> None:
    model = root / "model_repository" / "emotion_classifier"
    write_model(model / "tokenizer.json", tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    encoded = tokenizer(["I love it!", "word " * 500], padding=True, truncation=True, return_tensors="pt")
    assert encoded["input_ids"].shape == (2, 128)
    with torch.inference_mode():
        scores = classifier(**encoded).logits
    assert scores.shape == (2, len(json.loads((model / "manifest.json").read_text())["labels"]))
