"""Server processes on one Redis that are killed, hang, and are replaced under load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.balancing import Balancer, balancer
from tests.redises import Redis, redis_server
from tests.scripted_openai import answers, scripted_openai, waits
from tests.server.chatting import hello, receive, said, send, until_type
from tests.server.test_chat_process import PIECES, asked, serving

pytestmark = [pytest.mark.slow, pytest.mark.anyio]
SERVERS = 2
SENDERS, TALKERS = 3, 4


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["is-killed", "hangs"])
async def test_a_turn_whose_server_is_lost_is_answered_by_another_once(root: Path, redis: Redis, end: signal.Signals) -> None:
    gate = asyncio.Event()
    async with scripted_openai(waits(gate, "Never ", "seen."), answers(*PIECES), answers("Yes.")) as vllm:
        settings = {"EMPATHETIC_SESSIONS": redis.url, "EMPATHETIC_VLLM_URL": vllm.url}
        with serving(root, **settings) as (lost, one), serving(root, **settings) as (_, other):
            async with connect(f"ws{other[4:]}/v1/chat/ws") as socket:
                session_id = (await hello(socket))["session_id"]
                async with connect(f"ws{one[4:]}/v1/chat/ws") as first:
                    await hello(first, session_id=session_id)
                    await send(first, type="message", text="I had a bad day", client_id="c1")
                    seen = await until_type(socket, "emotion")
                    await asked(vllm, 1)
                    lost.send_signal(end)
                    rest = await until_type(socket, "done")
                    await send(socket, type="message", text="really?", client_id="c2")
                    more = await until_type(socket, "done")
                    gate.set()
                    lost.send_signal(signal.SIGCONT)
                    # A server that comes back finds the conversation taken over: it writes nothing and tells nobody.
                    await asyncio.sleep(1)
            stored = httpx2.get(f"{other}/v1/sessions/{session_id}").json()
            if end is signal.SIGSTOP:
                assert httpx2.get(f"{one}/v1/sessions/{session_id}").json() == stored
    assert (rest[0]["type"], rest[0]["client_id"], rest[0]["duplicate"]) == ("ack", "c1", True)
    assert said(rest) == rest[-1]["reply"] == "".join(PIECES)
    assert [frame["seq"] for frame in [*seen, *rest, *more]] == list(range(1, len([*seen, *rest, *more]) + 1))
    assert [message["text"] for message in stored["messages"]] == ["I had a bad day", "".join(PIECES), "really?", "Yes."]


@dataclass
class Sender:
    """An API client: one request after the other over one connection that it keeps."""

    failures: list[str] = field(default_factory=list)
    answered: int = 0

    async def run(self, address: str, stop: asyncio.Event) -> None:
        async with httpx2.AsyncClient(base_url=address, timeout=30) as http:
            while not stop.is_set():
                for path, body in (("/v1/emotions", {"input": ["I love it", "oh no"]}), ("/v1/chat", {"message": "I had a bad day"})):
                    try:
                        answer = await http.post(path, json=body)
                    except httpx2.TransportError as exc:
                        self.failures.append(f"{path}: {exc!r}")
                        continue
                    self.answered += 1
                    if answer.status_code != 200:
                        self.failures.append(f"{path}: {answer.status_code} {answer.text}")


@dataclass
class Talker:
    """A person on a socket, who connects again whenever the server goes down."""

    said: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    closings: list[int] = field(default_factory=list)
    session_id: str | None = None

    async def run(self, address: str, stop: asyncio.Event) -> None:
        waiting: str | None = None
        while not stop.is_set() or waiting:
            try:
                async with connect(f"ws{address[4:]}/v1/chat/ws") as socket:
                    waiting = await self._talk(socket, stop, waiting)
            except ConnectionClosed as closed:
                self.closings.append(closed.rcvd.code if closed.rcvd else 0)
                waiting = self.said[-1] if self.said else None

    async def _talk(self, socket: Any, stop: asyncio.Event, waiting: str | None) -> None:
        known = {} if self.session_id is None else {"session_id": self.session_id, "last_seq": self.numbers[-1] if self.numbers else 0}
        self.session_id = (await hello(socket, **known))["session_id"]
        while waiting or not stop.is_set():
            if waiting is None:
                self.said.append(f"message {len(self.said)}")
                waiting = self.said[-1]
            await send(socket, type="message", text=waiting, client_id=waiting)  # again, if it is not sure that it has arrived
            while waiting:
                frame = await receive(socket)
                if frame["type"] == "error":
                    assert frame["error"]["retryable"], frame
                    await asyncio.sleep(0.05)
                    break
                if "seq" in frame:
                    self.numbers.append(frame["seq"])
                if frame["type"] == "done":
                    waiting = None
            await asyncio.sleep(0.02)


@asynccontextmanager
async def load(address: str) -> AsyncIterator[tuple[list[Sender], list[Talker]]]:
    """Clients at work; at the end each finishes what it has begun."""
    stop = asyncio.Event()
    senders, talkers = [Sender() for _ in range(SENDERS)], [Talker() for _ in range(TALKERS)]
    tasks = [asyncio.create_task(client.run(address, stop)) for client in (*senders, *talkers)]
    yield senders, talkers
    stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def use(balancing: Balancer, server: str) -> None:
    balancing.servers.append(server)
    await until(lambda: balancing.is_used(server))


async def until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110  # what is waited for crosses sockets and processes
        await asyncio.sleep(0.05)


async def test_a_rolling_restart_under_load_fails_no_request_and_sockets_resume_on_another_server(root: Path, redis: Redis) -> None:
    settings = {"EMPATHETIC_SESSIONS": redis.url, "EMPATHETIC_DRAIN_DELAY_SECONDS": "1", "EMPATHETIC_THREADS": "1"}
    with ExitStack() as processes:
        old = [processes.enter_context(serving(root, **settings)) for _ in range(SERVERS)]
        async with balancer(*(address for _, address in old)) as balancing, load(balancing.address) as (senders, talkers):
            await until(lambda: all(client.answered for client in senders) and all(len(talker.said) > 2 for talker in talkers))
            for process, address in old:
                _, new = await asyncio.to_thread(processes.enter_context, serving(root, **settings))
                await use(balancing, new)
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 40) == 0
                balancing.servers.remove(address)
            before = [client.answered for client in senders]
            await until(lambda: all(client.answered > count + 4 for client, count in zip(senders, before, strict=True)))
        _, survivor = processes.enter_context(serving(root, **settings))
        stored = [httpx2.get(f"{survivor}/v1/sessions/{talker.session_id}").json()["messages"] for talker in talkers]
    assert [client.failures for client in senders] == [[]] * SENDERS
    for talker, messages in zip(talkers, stored, strict=True):
        assert talker.closings
        assert set(talker.closings) == {1012}
        assert talker.numbers == list(range(1, len(talker.numbers) + 1))
        assert [message["text"] for message in messages if message["role"] == "user"] == talker.said
        assert [message["role"] for message in messages] == ["user", "assistant"] * len(talker.said)
