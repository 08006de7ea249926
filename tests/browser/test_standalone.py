"""The page apart from its server, and the Space, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from empathetic_server import Settings
from empathetic_server.page.service import Service, ServiceError, Visitor
from playwright.async_api import Browser, expect

from tests.browser.visiting import visiting
from tests.server.chatting import REPLY, SPOKEN, FakeGenerator, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@asynccontextmanager
async def started(root: Path, port: int, *command: str, **environment: str) -> AsyncIterator[str]:
    """Run a command until it answers on a port; yields its address."""
    address = f"http://127.0.0.1:{port}"
    variables = {**os.environ, "PYTHONPATH": str(root / "server"), "PYTHONWARNINGS": "ignore", **environment}
    with subprocess.Popen([sys.executable, *command], cwd=root, env=variables, stdout=subprocess.DEVNULL) as process:
        try:
            async with httpx2.AsyncClient() as http:
                for _ in range(600):
                    assert process.poll() is None
                    try:
                        await http.get(address)
                        break
                    except httpx2.ConnectError:
                        await asyncio.sleep(0.1)
            yield address
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_the_page_alone_talks_with_a_server_elsewhere(browser: Browser, root: Path) -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    port = free_port()
    async with running(generators=[generator]) as at:
        page = started(root, port, "-m", "empathetic_server.page", "--server", at.address, "--port", str(port))
        async with page as address, visiting(browser, address, path="/") as visit:
            await visit.say("I had a long day")
            await expect(visit.live).to_contain_text(REPLY[0].strip())
            await visit.button("Stop").click()
            await asyncio.wait_for(generator.aborted.wait(), 10)
            await visit.has_replies(2)
            generator.gates[2].set()
            await visit.button("Ask for another reply").click()
            await expect(visit.transcript).to_contain_text(SPOKEN)


async def test_the_page_alone_says_that_its_server_is_away(browser: Browser, root: Path) -> None:
    port = free_port()
    page = started(root, port, "-m", "empathetic_server.page", "--server", f"http://127.0.0.1:{free_port()}", "--port", str(port))
    async with page as address, visiting(browser, address, path="/") as visit:
        await expect(visit.page.get_by_role("alert")).to_contain_text("cannot be reached")
        await visit.say("is anybody there?")
        await expect(visit.box).to_have_value("is anybody there?")


async def test_quotas_count_the_visitor_behind_the_page_and_not_the_page() -> None:
    settings = Settings(port=0, sessions="memory://", drain_seconds=5, quota_per_address="1/minute", trusted_proxies="127.0.0.1")
    async with running(settings=settings) as at:
        first, second = Visitor("192.0.2.1"), Visitor("192.0.2.2")
        remote = Service(None, at.address)
        await remote.call(first, "GET", "/v1/models")
        with pytest.raises(ServiceError) as refused:
            await remote.call(first, "GET", "/v1/models")
        assert refused.value.code == "rate_limited"
        await remote.call(second, "GET", "/v1/models")
        within = Service(at.server.config.app)  # type: ignore[arg-type]  # uvicorn's own type for it
        with pytest.raises(ServiceError):
            await within.call(second, "GET", "/v1/models")
        await within.call(Visitor("192.0.2.3"), "GET", "/v1/models")


async def test_the_space_serves_the_committed_model_and_may_be_framed(root: Path) -> None:
    port = free_port()
    async with started(root, port, "deploy/spaces/app.py", GRADIO_SERVER_PORT=str(port)) as address, httpx2.AsyncClient() as http:
        found = await http.post(f"{address}/v1/emotions", json={"input": "Thank you so much!"})
        assert found.json()["data"][0]["primary"] == "gratitude"
        page = await http.get(f"{address}/ui/", timeout=60)
    assert page.status_code == 200
    assert "frame-ancestors 'self' https://huggingface.co" in page.headers["content-security-policy"]
