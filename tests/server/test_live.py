"""Time and pressure: what ends by itself, and who reads too slowly."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from empathetic_server.chat import Say
from empathetic_server.errors import BackendUnavailable, NotFound
from empathetic_server.events import Disclosure
from empathetic_server.frames import FRAME_SECONDS, Frame, Listener, LiveSession
from empathetic_server.live import GRACE_SECONDS
from empathetic_server.relays import MemoryRelay
from empathetic_server.relays.protocols import Missed
from empathetic_server.sessions import MemorySessions, session_store
from empathetic_server.sessions.protocols import Message, Session
from empathetic_server.settings import Settings

from tests.server.chatting import FakeGenerator, hello, receive, running, send, until_type
from tests.server.conftest import FakeClassifier

pytestmark = pytest.mark.anyio


def hours_ago(hours: float) -> str:
    then = datetime.now(timezone.utc) - timedelta(hours=hours)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(("hours", "disclosed"), [(2.9, False), (3.1, True)])
async def test_that_it_is_an_ai_is_said_again_every_three_hours(hours: float, disclosed: bool) -> None:
    store = MemorySessions(max_sessions=9)
    await store.create(Session("s", "Hi.", disclosed_at=hours_ago(hours)))
    async with running(generators=[FakeGenerator()], sessions=store) as at, at.socket() as socket:
        await hello(socket, session_id="s")
        await send(socket, type="message", text="hello there", client_id="c1")
        first = [frame["type"] for frame in await until_type(socket, "done")]
        await send(socket, type="message", text="hello again", client_id="c2")
        second = [frame["type"] for frame in await until_type(socket, "done")]
    assert ("disclosure" in first) == disclosed
    assert not disclosed or first.index("disclosure") < first.index("delta")
    assert "disclosure" not in second


async def test_conversations_past_the_retention_period_are_deleted_at_the_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = session_store(url)
    await store.open()
    for name, hours in (("old", 24 * 8), ("young", 24 * 6)):
        await store.create(Session(name, "Hi.", updated_at=hours_ago(hours)))
    await store.aclose()
    async with running(settings=Settings(port=0, page=False, sessions=url, retention_days=7)) as at:
        while (await at.http.get("/v1/sessions/old")).status_code != 404:  # noqa: ASYNC110  # the sweep begins with the server
            await asyncio.sleep(0.01)
        assert (await at.http.get("/v1/sessions/young")).status_code == 200


async def test_a_turn_without_listeners_is_stopped_after_its_grace_and_goes_on_when_one_returns() -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    async with running(generators=[generator]) as at:
        session_id = (await at.http.post("/v1/sessions")).json()["session_id"]
        session, listener = await at.live.join(session_id)
        async with at.socket() as socket:
            await hello(socket, session_id=session_id)
            await send(socket, type="message", text="hello there", client_id="c1")
            await generator.waiting.wait()
            at.live.leave(session, listener)
            assert session.grace is None  # the socket still listens
        while session.listeners:  # noqa: ASYNC110  # closing crosses a socket
            await asyncio.sleep(0.01)
        assert session.grace is not None
        assert session.grace.when() - asyncio.get_running_loop().time() == pytest.approx(GRACE_SECONDS, abs=5)
        session, listener = await at.live.join(session_id)
        assert session.grace is None
        at.live.leave(session, listener)
        session.stop()  # what the grace does when it is over
        await asyncio.wait_for(generator.aborted.wait(), 20)
        assert session.turn is None or await asyncio.wait_for(session.turn.done, 20)
        assert session.grace is None


async def test_a_listener_that_does_not_read_is_cut_off_and_others_are_not() -> None:
    session = LiveSession("s")
    slow, quick = Listener(), Listener()
    for listener in (slow, quick):
        listener.begin(seq=0)
        session.listeners.add(listener)
    seen: list[int] = []

    async def read() -> None:
        async for item in quick:
            assert isinstance(item, Frame)
            seen.append(item.seq)

    reading = asyncio.create_task(read())
    for number in range(1, 1501):
        session.hand_on(Frame.of(Disclosure("x"), number))
        await asyncio.sleep(0)
    quick.close("deleted")
    await reading
    assert (slow.ending, quick.ending) == ("lagging", "deleted")
    assert seen == list(range(1, 1501))
    assert [item async for item in slow] == []


async def test_a_long_replay_is_no_slow_reading() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        session_id = (await at.http.post("/v1/sessions")).json()["session_id"]
        session, listener = await at.live.join(session_id)
        at.live.leave(session, listener)
        for _ in range(1500):
            await at.live.relay(session_id).publish(session_id, Disclosure("x"), None)
        async with at.socket() as socket:
            await hello(socket, session_id=session_id, last_seq=0)
            assert (await receive(socket))["replayed"] == 1500
            assert [(await receive(socket))["seq"] for _ in range(1500)] == list(range(1, 1501))


async def test_frames_are_kept_ten_minutes_and_a_resumption_after_that_is_incomplete() -> None:
    time = 0.0
    relay = MemoryRelay(lambda: time)
    await relay.attach("s", 0)
    for _ in range(3):
        await relay.publish("s", Disclosure("x"), None)
    time = FRAME_SECONDS - 1
    assert (await relay.missed("s", 0)).is_complete
    time = FRAME_SECONDS + 1
    assert await relay.missed("s", 0) == Missed([], is_complete=False, seq=3)
    assert await relay.missed("s", 3) == Missed([], is_complete=True, seq=3)


async def test_what_a_listener_is_told_before_it_begins_comes_once_and_in_order() -> None:
    listener = Listener()
    frames = [Frame.of(Disclosure("x"), number) for number in range(1, 6)]
    for frame in frames[1:4]:
        listener.put(frame)
    listener.begin("ready", *frames[:3], seq=3)
    listener.put(frames[3])  # as after an outage, when a relay repeats
    listener.put(frames[4])
    listener.close("deleted")
    assert [item if isinstance(item, str) else item.seq async for item in listener] == ["ready", 1, 2, 3, 4, 5]


async def test_an_answer_for_a_deleted_conversation_is_an_end_with_error_and_stores_nothing() -> None:
    generator = FakeGenerator(gates={1: asyncio.Event()})
    store = MemorySessions(max_sessions=9)
    await store.create(Session("s", "Hi."))
    async with running(generators=[generator], sessions=store) as at, at.socket() as socket:
        await hello(socket, session_id="s")
        await send(socket, type="message", text="hello there", client_id="c1")
        await generator.waiting.wait()
        await store.delete("s")  # behind the server's back
        generator.gates[1].set()
        done = (await until_type(socket, "done"))[-1]
        with pytest.raises(NotFound):
            await store.load("s")
    assert done["finish_reason"] == "error"


async def test_two_clients_that_open_an_interrupted_conversation_get_one_answer() -> None:
    generator = FakeGenerator()
    store = MemorySessions(max_sessions=9)
    await store.create(Session("s", "Hi."))
    await store.add_user_message("s", Message("m", "user", "are you there?", client_id="c1"), last_seq=1)
    async with running(generators=[generator], sessions=store) as at, at.socket() as one, at.socket() as two:
        await asyncio.gather(hello(one, session_id="s", last_seq=1), hello(two, session_id="s", last_seq=1))
        for socket in (one, two):
            assert (await receive(socket))["type"] == "resumed"
            assert (await until_type(socket, "done"))[-1]["message_id"] == "m"
        stored = (await store.load("s")).messages
    assert len(generator.asked) == 1
    assert [message.role for message in stored] == ["user", "assistant"]


class _SlowStore(MemorySessions):
    """Stores a message when the test lets it, or fails."""

    def __init__(self) -> None:
        super().__init__(max_sessions=9)
        self.storing = asyncio.Event()
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def add_user_message(self, session_id: str, message: Message, *, last_seq: int) -> Message:
        self.storing.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().add_user_message(session_id, message, last_seq=last_seq)


async def test_a_message_is_classified_while_it_is_stored_and_nothing_is_told_before_it_is() -> None:
    store, classifier, generator = _SlowStore(), FakeClassifier(), FakeGenerator()
    async with running(sessions=store, classifier=classifier, generators=[generator]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="hello there", client_id="c1")
        await store.storing.wait()
        assert classifier.priorities == ["interactive"]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
        assert generator.asked == []
        store.gate.set()
        frames = await until_type(socket, "done")
    assert [frame["type"] for frame in frames[:3]] == ["ack", "emotion", "delta"]
    assert classifier.priorities == ["interactive"]


async def test_of_a_message_that_could_not_be_stored_nothing_is_told_though_it_was_classified() -> None:
    store, classifier = _SlowStore(), FakeClassifier()
    store.failure = BackendUnavailable("away", retry_after_s=1)
    store.gate.set()
    async with running(sessions=store, classifier=classifier) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="hello there", client_id="c1")
        assert (await receive(socket))["error"]["code"] == "backend_unavailable"
        store.failure = None
        await send(socket, type="message", text="hello there", client_id="c1")
        assert (await until_type(socket, "done"))[1]["type"] == "emotion"
    assert classifier.priorities == ["interactive"] * 2


async def test_a_repeat_with_other_words_is_answered_as_the_message_that_was_stored() -> None:
    store = MemorySessions(max_sessions=9)
    await store.create(Session("s", "Hi."))
    await store.add_user_message("s", Message("m1", "user", "hello there", client_id="c1"), last_seq=1)
    async with running(sessions=store, generators=[FakeGenerator()]) as at:
        await at.live.join("s")
        turn = await at.live.begin("s", Say("something else altogether", "c1"))
        await turn.done
        answered = (await at.http.get("/v1/sessions/s")).json()["messages"][0]
        alike = (await at.http.post("/v1/chat", json={"message": "hello there"})).json()
    assert answered["text"] == "hello there"
    assert answered["emotion"] == alike["emotion"]
