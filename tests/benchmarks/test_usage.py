"""What a server uses, by the kernel's counts and by pages of metrics, which urllib reads from files as well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from empathetic_bench.samples import Round
from empathetic_bench.usage import Usage

# Starts a child that holds 64 MiB and computes until its input ends.
BUSY = """
import subprocess, sys
child = "held = bytearray(2**26); print('on', flush=True)\\nwhile True: pass"
subprocess.run([sys.executable, "-c", child])
"""
OURS = """# TYPE empathetic_stage_seconds histogram
empathetic_stage_seconds_sum{{stage="queue"}} {queue}
empathetic_stage_seconds_sum{{stage="compute"}} 0.5
empathetic_batch_padding_ratio_sum {padding}
empathetic_batch_padding_ratio_count {batches}
empathetic_dropped_texts_total 3.0
"""
TRITONS = """nv_inference_request_duration_us{{model="a",version="1"}} {total}
nv_inference_request_duration_us{{model="b",version="1"}} 1000
nv_inference_queue_duration_us{{model="a",version="1"}} {queue}
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_is_charged_with_what_its_children_use() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == b"on\n"
        try:
            usage = Usage([process.pid], [])
            time.sleep(0.5)
            used = usage.report()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert 0 < used["cpu_cores"] <= 1.5
    assert used["memory_mib"] > 64


def test_shares_are_of_what_has_changed_meanwhile(tmp_path: Path) -> None:
    page = tmp_path / "metrics"
    page.write_text(OURS.format(queue=1.0, padding=10.0, batches=20))
    usage = Usage([], [page.as_uri()])
    page.write_text(OURS.format(queue=1.25, padding=11.0, batches=24))
    used = usage.report(Round(32, 2.0, [200.0, 300.0]))
    assert used["queue_share"] == pytest.approx(0.25 / 0.5)
    assert (used["padding_share"], used["texts_per_batch"], used["compute_share"]) == (0.25, 8.0, 0.0)
    assert "dropped_texts" not in used


def test_tritons_queue_is_a_share_of_its_own_time(tmp_path: Path) -> None:
    page = tmp_path / "metrics"
    page.write_text(TRITONS.format(total=1000, queue=500))
    usage = Usage([], [page.as_uri()])
    page.write_text(TRITONS.format(total=5000, queue=1500))
    assert usage.report(Round(8, 1.0, [1.0])) == {"queue_share": 0.25}


def test_nothing_is_known_of_a_server_elsewhere() -> None:
    assert Usage([], []).report(Round(8, 1.0, [1.0])) == {}
