"""What a server spends, by the kernel's counts of its processes and by its own metrics. Linux; elsewhere nothing is measured."""

from __future__ import annotations

import os
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from .samples import Round

# A round, and what was used meanwhile.
Entry = tuple[Round, dict[str, float]]
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? ([0-9.e+-]+)$", re.MULTILINE)
_METRICS_SECONDS = 10


class Usage:
    """Measures from its construction to `report`.

    Args:
        pids: the server's processes, whose children count as well; empty when they are not ours.
        metrics: URLs of its Prometheus metrics.
    """

    def __init__(self, pids: Sequence[int], metrics: Sequence[str]) -> None:
        self._pids = [pid for pid in pids if Path(f"/proc/{pid}/stat").exists()]
        self._urls = metrics
        self._cpu_s = _cpu_seconds(self._pids)
        self._before = _read(metrics)
        self._started = time.perf_counter()

    def report(self, one: Round | None = None) -> dict[str, float]:
        """Return what was used meanwhile; what cannot be known is left out.

        Args:
            one: the round that was measured, of whose latencies the share in the queue is taken; None where nothing was classified.
        """
        seconds = time.perf_counter() - self._started
        used: dict[str, float] = {}
        if self._pids:
            used["cpu_cores"] = (_cpu_seconds(self._pids) - self._cpu_s) / seconds
            used["memory_mib"] = _memory_mib(self._pids)
        after = _read(self._urls)
        change = {name: value - self._before.get(name, 0.0) for name, value in after.items()}
        if tritons_us := change.get("nv_inference_request_duration_us"):
            # A client's request may be several of Triton's, so that the share is of its own time.
            used["queue_share"] = change["nv_inference_queue_duration_us"] / tritons_us
        elif one and one.latencies_ms and (waited_s := change.get('empathetic_stage_seconds_sum stage="queue"')) is not None:
            used["queue_share"] = 1000 * waited_s / sum(one.latencies_ms)
            used["compute_share"] = change['empathetic_stage_seconds_sum stage="compute"'] / seconds
            if batches := change["empathetic_batch_padding_ratio_count"]:
                used["padding_share"] = change["empathetic_batch_padding_ratio_sum"] / batches
                used["texts_per_batch"] = one.texts / batches
        if dropped := change.get("empathetic_dropped_texts_total"):
            used["dropped_texts"] = dropped
        return {name: round(value, 4) for name, value in used.items()}


def _read(urls: Sequence[str]) -> dict[str, float]:
    """Return the samples of pages of metrics; Triton's, which have a line for each model, as sums."""
    values: dict[str, float] = defaultdict(float)
    for url in urls:
        with urllib.request.urlopen(url, timeout=_METRICS_SECONDS) as answer:  # noqa: S310  # http, built by us
            page = answer.read().decode()
        for name, labels, value in _SAMPLE.findall(page):
            values[f"{name} {labels}" if labels and not name.startswith("nv_") else name] += float(value)
    return dict(values)


def _family(pids: Sequence[int]) -> list[int]:
    """Return processes and all that they have started."""
    found, waiting = [], list(pids)
    while waiting:
        one = waiting.pop()
        try:
            waiting += [int(child) for task in Path(f"/proc/{one}/task").iterdir() for child in (task / "children").read_text().split()]
        except FileNotFoundError:  # it has ended
            continue
        found.append(one)
    return found


def _cpu_seconds(pids: Sequence[int]) -> float:
    """Return user and system time of processes and their children."""
    ticks = 0
    for pid in _family(pids):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime: proc(5) counts from the name in brackets
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mib(pids: Sequence[int]) -> float:
    """Return the memory that processes and their children hold; pages that they share count for each."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(pids))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
