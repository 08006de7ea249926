"""The benchmark as its users run it, small: real server, real peers, the committed model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_every_case_is_measured_on_the_same_texts_and_written_down(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "classifier.json"
    paths = os.pathsep.join(str(root / folder) for folder in ("server", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": paths, "EMPATHETIC_SERVER_PYTHON": sys.executable}
    command = [sys.executable, "-m", "empathetic_bench", "classifier", "--rounds", "1", "--texts", "64", "--output", str(output)]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    content = json.loads(output.read_text())
    assert content["parity_max_difference"] <= 1e-4
    assert str(tmp_path) not in output.read_text()
    for case in content["cases"]:
        [one] = case["rounds"]
        assert (one["texts"], one["errors"]) == (64, 0)
        assert one["latencies_ms"]
        assert f"| {case['shape']} |" in result.stdout
    assert {"offline", "http-bulk", "http-many", "http-one", "pytorch", "pipeline"} <= {case["name"] for case in content["cases"]}
