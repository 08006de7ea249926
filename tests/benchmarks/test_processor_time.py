from __future__ import annotations

import sys

import pytest
from empathetic_bench.processor_time import LOADS, measure


@pytest.mark.parametrize("name", LOADS)
def test_the_event_loop_takes_a_part_of_what_the_process_takes(name: str) -> None:
    spent = measure(sys.executable, LOADS[name]._replace(clients=2, requests=2))
    assert 0 < spent.loop_ms < spent.whole_ms < spent.start_ms


def test_a_server_that_does_not_start_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        measure(sys.executable, LOADS["single"], EMPATHETIC_SESSIONS="nowhere://")
