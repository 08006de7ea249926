from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from empathetic_bench import processor_time
from empathetic_bench.processor_time import LOADS, measure


@pytest.mark.parametrize("name", LOADS)
def test_the_event_loop_takes_a_part_of_what_the_process_takes(name: str) -> None:
    spent = measure(sys.executable, LOADS[name]._replace(clients=2, requests=2))
    assert 0 < spent.loop_ms < spent.whole_ms < spent.start_ms


def test_a_server_that_does_not_start_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        measure(sys.executable, LOADS["single"], EMPATHETIC_SESSIONS="nowhere://")


def test_replies_of_an_engine_that_fails_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "_SAID", ())
    with pytest.raises(RuntimeError, match="a turn failed"):
        measure(sys.executable, LOADS["engine"]._replace(clients=1, requests=1))


def test_every_start_is_written_down_and_the_medians_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "LOADS", {"single": LOADS["single"]._replace(clients=2, requests=2)})
    content = processor_time.run(sys.executable, tmp_path / "out.json", rounds=2, with_page=False)
    assert json.loads((tmp_path / "out.json").read_text()) == content
    assert [set(spent) for spent in content["loads"]["single"]] == [{"start_ms", "loop_ms", "whole_ms"}] * 2
    assert processor_time.table(content).splitlines()[-1].startswith("| single | ")
