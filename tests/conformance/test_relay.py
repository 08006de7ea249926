"""What every `Relay` must do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from empathetic_server.errors import SessionBusy
from empathetic_server.events import Disclosure, Done
from empathetic_server.frames import Frame
from empathetic_server.relays import Relay, relay_through
from empathetic_server.relays.protocols import Signal
from empathetic_server.sessions import session_store, shared_redis
from empathetic_server.sessions.protocols import Session

from tests.redises import redis_server

pytestmark = pytest.mark.anyio
DONE = Done("m", "r", "text", "stop", {}, {})


@dataclass
class Heard:
    """A receiver that keeps what it is handed."""

    frames: list[Frame] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)

    def on_frame(self, session_id: str, frame: Frame) -> None:
        assert session_id == "s"
        self.frames.append(frame)

    def on_signal(self, session_id: str, signal: Signal) -> None:
        assert session_id == "s"
        self.signals.append(signal)

    async def until(self, count: int) -> list[int]:
        """Wait for so many frames, and return their numbers."""
        while len(self.frames) < count:  # noqa: ASYNC110  # what is waited for crosses a socket
            await asyncio.sleep(0.005)
        return [frame.seq for frame in self.frames]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=["memory", "redis"])
async def relay(request: pytest.FixtureRequest, tmp_path: Path, heard: Heard) -> AsyncIterator[Relay]:
    """A relay that is attached to the session s."""
    if request.param == "memory":
        built = relay_through(None)
        await built.open(heard)
        await built.attach("s", 0)
        yield built
        await built.aclose()
        return
    with redis_server(tmp_path) as started:
        store = session_store(started.url)
        await store.open()
        await store.create(Session("s", "Hi."))
        built = relay_through(shared_redis(store))
        await built.open(heard)
        await built.attach("s", 0)
        yield built
        await built.aclose()
        await store.aclose()


async def test_frames_are_numbered_and_handed_on_in_order(relay: Relay, heard: Heard) -> None:
    published = [await relay.publish("s", Disclosure(f'ä {number} \\ "'), None) for number in range(20)]
    assert await heard.until(20) == list(range(1, 21))
    assert heard.frames == published
    assert json.loads(heard.frames[4].text) == {"type": "disclosure", "text": 'ä 4 \\ "', "seq": 5}


async def test_what_was_missed_is_kept(relay: Relay) -> None:
    published = [await relay.publish("s", Disclosure("x"), None) for _ in range(5)]
    missed = await relay.missed("s", 2)
    assert (list(missed.frames), missed.is_complete, missed.seq) == (published[2:], True, 5)
    assert (await relay.missed("s", None)).seq == 5
    beyond = await relay.missed("s", 9)
    assert (list(beyond.frames), beyond.is_complete, beyond.seq) == ([], False, 5)


async def test_a_number_that_a_client_has_and_nobody_else_is_taken_over(relay: Relay) -> None:
    missed = await relay.missed("s", 7)
    assert (list(missed.frames), missed.is_complete, missed.seq) == ([], False, 7)
    assert (await relay.publish("s", Disclosure("x"), None)).seq == 8


async def test_a_turn_publishes_under_its_claim_until_its_last_frame(relay: Relay) -> None:
    assert await relay.claim("s", "one")
    await relay.publish("s", Disclosure("x"), "one")
    await relay.publish("s", DONE, "one")
    assert await relay.claim("s", "two")
    await relay.release("s", "two")
    await relay.release("s", "two")  # a second time does nothing
    assert await relay.claim("s", "three")


async def test_signals_reach_the_process_itself(relay: Relay, heard: Heard) -> None:
    for signal in ("stop", "left"):
        await relay.signal("s", signal)
    while len(heard.signals) < 2:  # noqa: ASYNC110  # as above
        await asyncio.sleep(0.005)
    assert heard.signals == ["stop", "left"]


async def test_a_process_alone_has_no_other_listeners(relay: Relay) -> None:
    assert not await relay.has_other_listeners("s")


async def test_after_detaching_nothing_is_handed_on_and_attaching_again_goes_on_with_the_numbers(relay: Relay, heard: Heard) -> None:
    await relay.publish("s", Disclosure("x"), None)
    await heard.until(1)
    await relay.detach("s")
    await relay.attach("s", 0)
    assert (await relay.publish("s", Disclosure("x"), None)).seq == 2
    assert await heard.until(2) == [1, 2]


async def test_two_processes_share_frames_claims_and_listeners(tmp_path: Path) -> None:
    with redis_server(tmp_path) as started:
        stores = [session_store(started.url) for _ in range(2)]
        ears = [Heard(), Heard()]
        relays = [relay_through(shared_redis(store)) for store in stores]
        for store, one, ear in zip(stores, relays, ears, strict=True):
            await store.open()
            await one.open(ear)
        await stores[0].create(Session("s", "Hi."))
        first, second = relays
        await first.attach("s", 0)
        assert not await first.has_other_listeners("s")
        await second.attach("s", 0)
        assert await first.has_other_listeners("s")
        assert await first.claim("s", "one")
        assert not await second.claim("s", "two")
        await first.publish("s", Disclosure("x"), "one")
        with pytest.raises(SessionBusy):
            await second.publish("s", Disclosure("y"), "two")
        await second.publish("s", Disclosure("z"), None)  # an ack, outside of a turn
        await first.publish("s", DONE, "one")
        assert await second.claim("s", "two")
        for ear in ears:
            assert await ear.until(3) == [1, 2, 3]
        for store, one in zip(stores, relays, strict=True):
            await one.aclose()
            await store.aclose()
