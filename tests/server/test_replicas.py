"""Several servers on one Redis: a conversation is the same on each of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from empathetic_server import Settings
from empathetic_server import terminal as terminal_client
from empathetic_server.chat import ChatService, Say
from empathetic_server.events import Ack
from empathetic_server.live import LiveSessions
from empathetic_server.metrics import Metrics
from empathetic_server.page import conversation as page_conversation
from empathetic_server.page.service import Service, Visitor
from empathetic_server.relays import relay_through
from empathetic_server.responder import Responder
from empathetic_server.sessions import MemorySessions, session_store, shared_redis
from empathetic_server.sessions.protocols import Message
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.redises import Redis, redis_server
from tests.server.chatting import SPOKEN, FakeGenerator, Running, events, hello, receive, running, said, send, until_type
from tests.server.conftest import FakeClassifier
from tests.tritons import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
RECOVERY_SECONDS = 5


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@asynccontextmanager
async def replica(url: str, *generators: FakeGenerator, **settings: Any) -> AsyncIterator[Running]:
    """A server on a Redis."""
    async with running(settings=Settings(port=0, page=False, sessions=url, drain_seconds=5, **settings), generators=generators) as at:
        yield at


def held_after(piece: int) -> FakeGenerator:
    """A generator that waits for the test before a piece."""
    return FakeGenerator(gates={piece: asyncio.Event()})


async def messages_of(at: Running, session_id: str) -> list[str]:
    stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
    return [message["text"] for message in stored["messages"]]


def numbers(frames: Sequence[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames]


async def begin(at: Running, socket: ClientConnection, generator: FakeGenerator, client_id: str = "c1") -> tuple[str, list[dict[str, Any]]]:
    """Say hello and a message, and return the session and its frames up to where the generator waits."""
    session_id = (await hello(socket))["session_id"]
    await send(socket, type="message", text="I had a bad day", client_id=client_id)
    await generator.waiting.wait()
    return session_id, await until_type(socket, "delta")


async def test_a_socket_on_another_server_resumes_a_running_turn(redis: Redis) -> None:
    generator = held_after(2)
    async with replica(redis.url, generator) as first, replica(redis.url) as second:
        async with first.socket() as left:
            session_id, seen = await begin(first, left, generator)
        async with second.socket() as socket:
            await hello(socket, session_id=session_id, last_seq=seen[1]["seq"])
            resumed = await receive(socket)
            generator.gates[2].set()
            rest = await until_type(socket, "done")
        assert await messages_of(second, session_id) == ["I had a bad day", SPOKEN]
    assert resumed["complete"]
    assert resumed["replayed"] >= 1
    assert numbers([*seen[:2], *rest]) == list(range(1, rest[-1]["seq"] + 1))
    assert said([*seen[:2], *rest]) == rest[-1]["reply"] == SPOKEN


async def test_sockets_on_two_servers_receive_the_same_frames(redis: Redis) -> None:
    generator = held_after(2)
    async with replica(redis.url, generator) as first, replica(redis.url) as second, first.socket() as one, second.socket() as two:
        session_id, seen = await begin(first, one, generator)
        await hello(two, session_id=session_id, last_seq=0)
        generator.gates[2].set()
        whole = seen + await until_type(one, "done")
        resumed, *copy = await until_type(two, "done")
        await send(two, type="message", text="and you?", client_id="c2")
        assert (await until_type(one, "done")) == (await until_type(two, "done"))
    assert resumed["type"] == "resumed"
    assert copy == whole


async def test_one_turn_at_a_time_whichever_server_is_asked_and_a_repeat_is_acknowledged(redis: Redis) -> None:
    generator = held_after(2)
    async with replica(redis.url, generator) as first, replica(redis.url, FakeGenerator()) as second:
        async with first.socket() as one, second.socket() as two:
            session_id, seen = await begin(first, one, generator)
            await hello(two, session_id=session_id)
            refused = await second.http.post("/v1/chat", json={"session_id": session_id, "message": "another"})
            await send(two, type="message", text="I had a bad day", client_id="c1")
            repeated = (await until_type(two, "ack"))[-1]
            generator.gates[2].set()
            await until_type(two, "done")
            accepted = await second.http.post("/v1/chat", json={"session_id": session_id, "message": "another"})
        assert await messages_of(first, session_id) == ["I had a bad day", SPOKEN, "another", SPOKEN]
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session_busy")
    assert (repeated["duplicate"], repeated["message_id"]) == (True, seen[0]["message_id"])
    assert accepted.status_code == 200


async def test_stop_on_one_server_aborts_the_generation_on_another(redis: Redis) -> None:
    generator = held_after(2)
    async with replica(redis.url, generator) as first, replica(redis.url) as second:
        async with first.socket() as one, second.socket() as two:
            session_id, _ = await begin(first, one, generator)
            await hello(two, session_id=session_id, last_seq=0)
            await send(two, type="stop")
            await asyncio.wait_for(generator.aborted.wait(), 5)
            done = (await until_type(two, "done"))[-1]
        assert await messages_of(second, session_id) == ["I had a bad day", done["reply"]]
    assert done["finish_reason"] == "stopped"
    assert SPOKEN.startswith(done["reply"].strip())


async def test_a_conversation_deleted_on_one_server_ends_on_all(redis: Redis) -> None:
    generator = held_after(2)
    async with replica(redis.url, generator) as first, replica(redis.url) as second:
        async with first.socket() as one:
            session_id, _ = await begin(first, one, generator)
            assert (await second.http.delete(f"/v1/sessions/{session_id}")).status_code == 204
            await asyncio.wait_for(generator.aborted.wait(), 5)
            with pytest.raises(ConnectionClosed) as closed:
                await until_type(one, "never")
        assert (await first.http.get(f"/v1/sessions/{session_id}")).status_code == 404
        with redis.client() as client:
            assert client.keys(f"empathetic:{{{session_id}}}:*") == []
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_a_stream_over_rest_is_the_same_with_redis(redis: Redis) -> None:
    async with replica(redis.url, FakeGenerator()) as at:
        body = {"message": "I had a bad day", "stream": True}
        streamed = events((await at.http.post("/v1/chat", json=body)).text)
        answer = (await at.http.post("/v1/chat", json={"message": "I had a bad day"})).json()
        metrics = (await at.http.get("/metrics")).text
    assert all(f'empathetic_store_seconds_count{{step="{step}"}} 2.0' in metrics for step in ("accept", "load", "finish"))
    assert [frame["type"] for frame in streamed if frame["type"] != "delta"] == ["ack", "emotion", "done"]
    assert numbers(streamed) == list(range(1, len(streamed) + 1))
    assert said(streamed) == SPOKEN == answer["reply"]
    assert set(answer) == {"session_id", "message_id", "reply_id", "reply", "emotion", "safety", "trajectory", "finish_reason", "timings"}
    assert set(answer["emotion"]).isdisjoint({"type", "seq", "message_id"})


async def test_quotas_are_counted_together_and_alone_while_redis_is_away(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    quota = {"quota_per_address": "3/hour"}
    with redis_server(tmp_path, port=port) as doomed:
        async with replica(doomed.url, **quota) as first, replica(doomed.url, **quota) as second:
            asked = [await at.http.post("/v1/emotions", json={"input": "hi"}) for at in (first, second, first, second, first)]
            in_danger = await second.http.post("/v1/chat", json={"message": "I want to kill myself"})
            with doomed.client() as client:
                counters = [key.decode() for key in client.keys("empathetic:quota*")]
                lives = [client.ttl(key) for key in counters]
            doomed.kill()
            alone = [await second.http.post("/v1/emotions", json={"input": "hi"}) for _ in range(4)]
            with redis_server(tmp_path, port=port):
                await asyncio.sleep(1.1)
                together = await first.http.post("/v1/emotions", json={"input": "hi"})
    assert [answer.status_code for answer in asked] == [200, 200, 200, 429, 429]
    assert int(asked[-1].headers["retry-after"]) > 3000
    assert (in_danger.status_code, in_danger.json()["finish_reason"]) == (200, "crisis")
    assert [answer.status_code for answer in alone] == [200, 200, 200, 429]
    assert together.status_code == 429
    assert counters
    assert all(0 < life <= 3601 for life in lives)


async def test_a_turn_that_loses_redis_is_an_error_and_goes_on_by_itself_when_it_is_back(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    generator = held_after(2)
    with redis_server(tmp_path, port=port) as doomed:
        servers = replica(doomed.url, generator), replica(doomed.url)
        async with servers[0] as first, servers[1] as second, first.socket() as one, second.socket() as two:
            session_id, _ = await begin(first, one, generator)
            await hello(two, session_id=session_id, last_seq=0)
            doomed.kill()
            generator.gates[2].set()
            error = (await until_type(one, "error"))[-1]
            with redis_server(tmp_path, port=port):
                started = time.monotonic()
                frames = await until_type(one, "done")
                assert time.monotonic() - started < RECOVERY_SECONDS
                others = await until_type(two, "done")
                await send(one, type="message", text="still there?", client_id="c2")
                await until_type(two, "done")
                stored = await messages_of(second, session_id)
    assert (error["error"]["code"], error["error"]["retryable"]) == ("backend_unavailable", True)
    assert (frames[0]["type"], frames[0]["duplicate"]) == ("ack", True)
    assert frames[-1]["reply"] == SPOKEN
    assert others[-1] == frames[-1]
    assert stored == ["I had a bad day", SPOKEN, "still there?", SPOKEN]


async def test_the_page_and_the_terminal_wait_while_redis_is_away_and_show_the_whole_reply(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    generator = FakeGenerator(gates={2: asyncio.Event()})
    page = page_conversation.Conversation()
    with redis_server(tmp_path, port=port) as doomed:
        async with replica(doomed.url, generator) as at:
            terminal = terminal_client.Conversation(f"ws{at.address[4:]}/v1/chat/ws")
            await terminal.open()
            await page.begin(service := Service(None, at.address), visitor := Visitor("127.0.0.1"))

            async def read_page() -> list[tuple[str, str | None]]:
                return [(page.notice, page.reply) async for _ in page.say(service, visitor, "I had a bad day")]

            async def read_terminal() -> list[dict[str, Any]]:
                return [frame async for frame in terminal.ask(type="message", text="I had a bad day", client_id="c")]

            reading = [asyncio.create_task(read_page()), asyncio.create_task(read_terminal())]
            while len(generator.asked) < 2 or not page.reply:  # noqa: ASYNC110  # they cross a socket
                await asyncio.sleep(0.01)
            doomed.kill()
            generator.gates[2].set()
            while not page.notice:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
            with redis_server(tmp_path, port=port):
                shown, frames = await asyncio.gather(*reading)
            await terminal.close()
    assert any("interrupted" in notice for notice, _ in shown)
    assert [message["text"] for message in page.messages] == ["I had a bad day", SPOKEN]
    assert (page.notice, page.reply) == ("", None)
    kinds = [frame["type"] for frame in frames]
    assert kinds.index("error") < kinds.index("ack", 1)
    assert frames[-1]["reply"] == SPOKEN


async def test_a_reply_that_was_stored_by_a_server_that_died_before_it_could_say_so_is_told_by_another(redis: Redis) -> None:
    async with replica(redis.url, FakeGenerator()) as at, at.socket() as socket:
        session_id = (await hello(socket))["session_id"]
        store = session_store(redis.url)
        relay = relay_through(shared_redis(store))
        await store.open()
        assert await relay.claim(session_id, "a-turn")  # and nobody renews it
        await store.add_user_message(session_id, Message("u", "user", "I had a bad day"), last_seq=0)
        await relay.publish(session_id, Ack(None, "u"), "a-turn")
        reply = Message("r", "assistant", "I see.", finish_reason="stop")
        await store.finish_turn(session_id, "u", reply, emotion=None, safety=None, disclosed_at=None, last_seq=0)
        done = (await until_type(socket, "done"))[-1]
        await store.aclose()
        assert await messages_of(at, session_id) == ["I had a bad day", "I see."]
    assert (done["message_id"], done["reply_id"], done["reply"], done["finish_reason"]) == ("u", "r", "I see.", "stop")


async def test_a_rest_client_whose_turn_loses_redis_is_told_and_the_stream_ends_with_an_error(tmp_path: Path) -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    with redis_server(tmp_path) as doomed:
        async with replica(doomed.url, generator) as at:
            plain = asyncio.create_task(at.http.post("/v1/chat", json={"message": "I had a bad day"}))
            stream = asyncio.create_task(at.http.post("/v1/chat", json={"message": "I had a bad day", "stream": True}))
            while len(generator.asked) < 2:  # noqa: ASYNC110  # they cross a socket
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            doomed.kill()
            generator.gates[2].set()
            answer, streamed = await plain, events((await stream).text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "backend_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert (streamed[0]["type"], streamed[-1]["type"]) == ("ack", "error")
    assert streamed[-1]["error"]["code"] == "backend_unavailable"


@asynccontextmanager
async def live_sessions(url: str, generator: FakeGenerator, grace_s: float) -> AsyncIterator[LiveSessions]:
    """Running sessions without a server around them."""
    metrics = Metrics()
    store = session_store(url)
    responder = Responder(FakeClassifier(), None, [generator], metrics, "international")
    chat = ChatService(responder, store, MemorySessions(max_sessions=9), metrics)
    live = LiveSessions(chat, relay_through(shared_redis(store)), metrics, max_turns=9, retention_days=9, grace_s=grace_s)
    await live.open()
    yield live
    await live.aclose()


async def test_the_grace_of_a_turn_counts_the_listeners_of_all_servers(redis: Redis) -> None:
    generator = held_after(1)
    async with live_sessions(redis.url, generator, 0.3) as first, live_sessions(redis.url, FakeGenerator(), 0.3) as second:
        created = await first.chat.create_session(temporary=False)
        here, mine = await first.join(created.session_id)
        turn = await first.begin(created.session_id, Say("I had a bad day"))
        await generator.waiting.wait()
        there, theirs = await second.join(created.session_id, last_seq=0)
        first.leave(here, mine)
        await asyncio.sleep(1)
        assert not turn.stop.is_set()
        second.leave(there, theirs)
        await asyncio.wait_for(turn.stop.wait(), 5)


async def test_a_temporary_conversation_stays_on_its_server_and_out_of_redis(redis: Redis) -> None:
    async with replica(redis.url, FakeGenerator()) as first, replica(redis.url) as second:
        answer = (await first.http.post("/v1/chat", json={"message": "a secret of mine", "temporary": True})).json()
        elsewhere = await second.http.get(f"/v1/sessions/{answer['session_id']}")
        with redis.client() as client:
            keys = [key.decode() for key in client.keys("*")]
            dump = json.dumps([str(client.dump(key)) for key in keys])
    assert elsewhere.status_code == 404
    assert answer["session_id"] not in " ".join(keys)
    assert "a secret of mine" not in dump
