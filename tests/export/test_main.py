from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "export")}
    command = [sys.executable, "-m", "empathetic_export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)


def test_the_command_writes_an_artifact_and_reports_parity(root, checkpoint_of, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result = run(root, checkpoint_of("bert"), "--data", data, "--output", tmp_path / "repository")
    assert result.returncode == 0, result.stderr
    assert "parity on 112 dev texts" in result.stdout
    assert (tmp_path / "repository" / "emotion_classifier" / "manifest.json").exists()


def test_a_bad_checkpoint_is_one_line_and_writes_nothing(root, data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    result = run(root, tmp_path / "none", "--data", data, "--output", tmp_path / "repository")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "repository").exists()
