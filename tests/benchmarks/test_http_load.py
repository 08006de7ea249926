from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from aiohttp import web
from empathetic_bench.http_load import closed_loop
from empathetic_bench.samples import Round


def load(texts: list[str], *, clients: int, each: int, failing: str = "") -> tuple[Round, Counter[str], int]:
    """Run the load against a small real server; returns the round, the texts it saw, and the most requests at a time."""
    seen: Counter[str] = Counter()
    running = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        asked = json.loads(await request.read())["input"]
        seen.update(asked)
        await asyncio.sleep(0.01)
        running -= 1
        return web.Response(status=429 if failing in asked else 200)

    async def run() -> Round:
        application = web.Application()
        application.router.add_post("/v1/emotions", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            return await closed_loop(f"http://{host}:{port}", texts, clients=clients, texts_per_request=each, warmup=1)
        finally:
            await runner.cleanup()

    return asyncio.run(run()), seen, most


def test_every_text_is_sent_once_after_the_warmup() -> None:
    texts = [f"t{number}" for number in range(10)]
    one, seen, _ = load(texts, clients=3, each=4)
    assert seen == Counter(texts) + Counter(texts[:4])
    assert (one.texts, one.errors, len(one.latencies_ms)) == (10, 0, 3)
    assert all(value >= 10 for value in one.latencies_ms)


def test_as_many_requests_are_in_flight_as_there_are_clients() -> None:
    assert load([f"t{number}" for number in range(24)], clients=6, each=1)[2] == 6


@pytest.mark.parametrize("failing", ["t3"])
def test_a_refused_request_is_an_error_and_not_a_fast_answer(failing: str) -> None:
    one, _, _ = load([f"t{number}" for number in range(6)], clients=2, each=1, failing=failing)
    assert (one.texts, one.errors, len(one.latencies_ms)) == (5, 1, 5)
