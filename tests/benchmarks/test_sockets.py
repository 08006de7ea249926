"""The benchmark of many sockets, against a real server of a few."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from empathetic_bench import sockets

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pause_s", [0, 0.2], ids=["without-pauses", "with-pauses"])
def test_who_talks_is_counted_and_who_listens_stays(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "server"))
    monkeypatch.chdir(root)
    output = tmp_path / "sockets.json"
    settings = {"EMPATHETIC_GENERATOR": "written"}
    content = sockets.run(sys.executable, output, sockets=6, active=2, seconds=1.5, pause_s=pause_s, settings=settings)
    assert json.loads(output.read_text()) == content
    assert (content["lost_frames"], content["errors"]) == (0, 0)
    turns = content["turn_ms"]["raw"]
    assert content["turns_per_s"] == pytest.approx(len(turns) / 1.5)
    assert len(content["first_ms"]["raw"]) == len(turns) > 2
    assert all(first <= turn for first, turn in zip(content["first_ms"]["raw"], turns, strict=True))
    assert 0 < content["loop_delay"]["samples"] <= 1.5 / 0.05 + 10
    assert 0 <= content["loop_delay"]["within_20_ms"] <= 1
    assert ("without a pause" if pause_s == 0 else "pauses of 0.2 s") in sockets.summary(content)


def test_the_delay_is_read_from_the_counts_of_a_histogram() -> None:
    within = {0.01: 90.0, 0.02: 98.0, 0.05: 99.0, float("inf"): 100.0}
    assert sockets._loop_delay(within) == {"samples": 100, "p99_s_at_most": 0.05, "within_20_ms": 0.98}
