"""The loads against a small real server: who is asked when, and what counts as latency."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import TypeVar

import pytest
from aiohttp import web
from empathetic_bench import loads
from empathetic_bench.loads import Send
from empathetic_bench.samples import percentile
from empathetic_bench.targets import connected

from tests.benchmarks.serving import serving

T = TypeVar("T")


@dataclass
class Seen:
    """What the server has seen; it takes `answer_s` for a request, and nothing is answered in the `stall` (from, to) after its start."""

    answer_s: float = 0.01
    failing: str = ""
    stall: tuple[float, float] = (0.0, 0.0)
    texts: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    running: int = 0
    most: int = 0
    given_up: int = 0
    started: float = field(default_factory=time.perf_counter)

    async def answer(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())["input"]
        self.texts.update(asked)
        self.sizes.append(len(asked))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.answer_s)
            now = time.perf_counter() - self.started
            if self.stall[0] <= now < self.stall[1]:
                await asyncio.sleep(self.stall[1] - now)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.running -= 1
        return web.Response(status=429 if self.failing in asked else 200)


def under(seen: Seen, load: Callable[[Send], Awaitable[T]]) -> T:
    async def run() -> T:
        async with serving(seen.answer) as address, connected(f"{address}/v1/emotions", Path()) as target:
            seen.started = time.perf_counter()
            return await load(target.send)

    return asyncio.run(run())


def numbered(count: int, each: int = 1) -> list[list[str]]:
    texts = [f"t{number}" for number in range(count)]
    return [texts[start : start + each] for start in range(0, count, each)]


def endless(each: int = 1) -> Iterator[list[str]]:
    return itertools.cycle(numbered(each * 8, each))


def test_a_closed_loop_sends_every_text_once() -> None:
    seen = Seen()
    one = under(seen, lambda send: loads.closed(send, numbered(10, 4), clients=3))
    assert seen.texts == Counter(f"t{number}" for number in range(10))
    assert (one.texts, one.errors, len(one.latencies_ms)) == (10, 0, 3)
    assert all(value >= 10 for value in one.latencies_ms)


def test_a_closed_loop_has_as_many_requests_on_their_way_as_clients() -> None:
    seen = Seen()
    under(seen, lambda send: loads.closed(send, numbered(24), clients=6))
    assert seen.most == 6


def test_a_closed_loop_ends_in_time_and_with_the_last_answer() -> None:
    seen = Seen(answer_s=0.05)
    one = under(seen, lambda send: loads.closed(send, endless(), clients=2, seconds=0.2))
    assert one.seconds >= 0.2
    assert one.texts == sum(seen.texts.values())


def test_a_refused_request_is_an_error_and_not_a_fast_answer() -> None:
    one = under(Seen(failing="t3"), lambda send: loads.closed(send, numbered(6), clients=2))
    assert (one.texts, one.errors, len(one.latencies_ms)) == (5, 1, 5)


def test_an_open_loop_sends_without_waiting_for_answers() -> None:
    seen = Seen(answer_s=0.3)
    one = under(seen, lambda send: loads.open_loop(send, endless(), rate_per_s=50, seconds=0.4))
    assert seen.most > 5
    assert one.texts == sum(seen.texts.values())


def test_an_open_loop_charges_a_stall_of_the_server_to_all_that_came_meanwhile() -> None:
    closed = under(Seen(stall=(0.2, 0.8)), lambda send: loads.closed(send, endless(), clients=1, seconds=1.2))
    opened = under(Seen(stall=(0.2, 0.8)), lambda send: loads.open_loop(send, endless(), rate_per_s=100, seconds=1.2))
    assert sum(value > 300 for value in closed.latencies_ms) == 1  # the one client was waiting, and omits what it did not ask
    assert percentile(opened.latencies_ms, 80) > 250
    assert max(opened.latencies_ms) > 500


def test_an_open_loop_charges_a_stall_of_the_client_to_all_that_should_have_been_sent_meanwhile() -> None:
    stalls = iter([0.5])

    async def send(texts: list[str]) -> None:
        time.sleep(next(stalls, 0.0))  # noqa: ASYNC251  # that nothing else can run is the point

    one = asyncio.run(loads.open_loop(send, endless(), rate_per_s=100, seconds=1.0))
    assert percentile(one.latencies_ms, 75) > 100


def test_requests_of_an_open_loop_come_at_random_and_the_same_for_a_seed() -> None:
    moments = list(loads._moments(100.0, 50.0, seed=1))
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert moments == list(loads._moments(100.0, 50.0, seed=1)) != list(loads._moments(100.0, 50.0, seed=2))
    assert fmean(gaps) == pytest.approx(0.01, rel=0.1)
    assert pstdev(gaps) == pytest.approx(fmean(gaps), rel=0.1)  # as in no other process of that rate
    assert moments[-1] < 50.0


def test_a_burst_comes_at_one_moment_and_counts_from_it() -> None:
    seen = Seen(answer_s=0.05)
    one = under(seen, lambda send: loads.burst(send, endless(), size=8, seconds=0.3))
    assert seen.most == 8
    assert one.texts == sum(seen.texts.values()) >= 16
    assert one.seconds < 0.05 * one.texts / 8 + 0.2 * (one.texts / 8 - 1)  # the pauses are left out


def test_a_mixed_load_asks_for_bulk_only_in_its_second_part() -> None:
    seen = Seen()
    parts = under(seen, lambda send: loads.mixed(send, endless(), send, endless(64), rate_per_s=20, seconds=0.5))
    assert list(parts) == ["idle", "under bulk", "bulk"]
    idle, loaded = parts["idle"].texts, parts["under bulk"].texts
    assert idle == loaded > 0
    assert seen.sizes[:idle] == [1] * idle
    assert parts["bulk"].texts == 64 * seen.sizes.count(64) > 0


def test_impatient_clients_hang_up_and_their_latencies_do_not_count() -> None:
    seen = Seen(answer_s=0.1)
    one = under(seen, lambda send: loads.impatient(send, endless(), clients=8, seconds=0.5))
    assert one.abandoned >= seen.given_up > 0  # some hang up before their request is read
    assert one.errors == 0
    assert len(one.latencies_ms) <= one.texts
    assert min(one.latencies_ms) >= 100
