"""Conversations in a real Redis, which is killed, hangs, and comes back."""

from __future__ import annotations

import inspect
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.exceptions
from empathetic_server import Settings
from empathetic_server.errors import BackendUnavailable, NotFound, StoreError
from empathetic_server.redis_connection import FAILURES, translated
from empathetic_server.sessions import session_store
from empathetic_server.sessions.protocols import Message, Session

from tests.redises import PASSWORD, redis_server
from tests.server.chatting import Running, running
from tests.tritons import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
RECOVERY_SECONDS = 5
EXCEPTIONS = [kind for _, kind in inspect.getmembers(redis.exceptions, inspect.isclass) if issubclass(kind, Exception)]


@asynccontextmanager
async def served(url: str) -> AsyncIterator[Running]:
    async with running(settings=Settings(port=0, page=False, sessions=url, drain_seconds=5)) as at:
        yield at


async def ready_again(at: Running) -> float:
    """Wait until the server is ready, and return how long it took."""
    started = time.monotonic()
    while (await at.http.get("/readyz")).status_code != 200:
        assert time.monotonic() - started < 30
    return time.monotonic() - started


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_library_becomes_one_of_ours_without_its_text(kind: type[Exception]) -> None:
    assert issubclass(kind, FAILURES)
    failure = kind.__new__(kind)
    failure.args = ("canary",)
    with pytest.raises(BackendUnavailable) as ours, translated():
        raise failure
    assert ours.value.retry_after_s == 1
    assert "canary" not in ours.value.message


async def test_a_killed_redis_loses_no_acknowledged_message_and_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with redis_server(tmp_path, port=port) as doomed:
        async with served(doomed.url) as at:
            answer = (await at.http.post("/v1/chat", json={"message": "I had a bad day"})).json()
            session = {"session_id": answer["session_id"]}
            doomed.kill()
            refused = await at.http.post("/v1/chat", json={**session, "message": "are you there?"})
            unready = await at.http.get("/readyz")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "backend_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert (unready.status_code, unready.json()["engines"]["sessions"]) == (503, {"name": "redis", "ready": False})
            with redis_server(tmp_path, port=port):
                assert await ready_again(at) < RECOVERY_SECONDS
                stored = (await at.http.get(f"/v1/sessions/{answer['session_id']}")).json()["messages"]
                again = await at.http.post("/v1/chat", json={**session, "message": "are you there?"})
    assert [message["text"] for message in stored] == ["I had a bad day", answer["reply"]]
    assert again.status_code == 200


async def test_a_hanging_redis_is_an_error_in_bounded_time(tmp_path: Path) -> None:
    with redis_server(tmp_path) as hanging:
        async with served(hanging.url) as at:
            hanging.process.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            refused = await at.http.post("/v1/chat", json={"message": "I had a bad day"})
            assert time.monotonic() - started < 15
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "backend_unavailable")
            assert (await at.http.get("/readyz")).status_code == 503
            hanging.process.send_signal(signal.SIGCONT)
            assert await ready_again(at) < RECOVERY_SECONDS
            assert (await at.http.post("/v1/chat", json={"message": "I had a bad day"})).status_code == 200


async def test_everything_of_a_session_expires_by_itself(tmp_path: Path) -> None:
    with redis_server(tmp_path) as started:
        store = session_store(started.url, retention_days=3)
        await store.open()
        await store.create(Session("s", "Hi."))
        await store.add_user_message("s", Message("u", "user", "hello", client_id="c"), last_seq=1)
        with started.client() as client:
            lives = [client.ttl(key) for key in client.keys("empathetic:{s}:*")]
            assert len(lives) == 4
            assert all(3 * 86400 - 60 < life <= 3 * 86400 for life in lives)
            for key in client.keys("empathetic:{s}:*"):
                client.delete(key)
        with pytest.raises(NotFound):
            await store.load("s")
        await store.aclose()


async def test_a_wrong_password_is_refused_in_one_line_without_it(tmp_path: Path) -> None:
    with redis_server(tmp_path) as started:
        store = session_store(f"redis://:not-{PASSWORD}@127.0.0.1:{started.port}")
        with pytest.raises(StoreError, match="refuses the user or the password") as refusal:
            await store.open()
        await store.aclose()
    assert PASSWORD not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("missing", ["keys", "channels"])
async def test_a_user_who_may_not_use_all_of_our_keys_and_channels_is_refused_at_the_start(tmp_path: Path, missing: str) -> None:
    allowed = {"keys": "~empathetic:*", "channels": "&empathetic:*"}
    with redis_server(tmp_path) as started, started.client() as client:
        for user, patterns in (("whole", allowed.values()), ("half", [allowed[name] for name in allowed if name != missing])):
            client.execute_command("ACL", "SETUSER", user, "on", ">pw", "resetchannels", *patterns, "+@all")
        async with served(f"redis://whole:pw@127.0.0.1:{started.port}/0") as at:
            assert (await at.http.post("/v1/chat", json={"message": "I had a bad day"})).status_code == 200
        store = session_store(f"redis://half:pw@127.0.0.1:{started.port}/0")
        with pytest.raises(StoreError, match=r"keys and channels named empathetic:\*"):
            await store.open()
        await store.aclose()


async def test_a_redis_that_may_lose_messages_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as started:
        for setting, warning in (("always", ""), ("everysec", "the last second may be lost")):
            with started.client() as client:
                client.config_set("appendfsync", setting)
            store = session_store(started.url)
            await store.open()
            await store.aclose()
            assert warning in caplog.text
            assert bool(warning) == bool(caplog.text)
