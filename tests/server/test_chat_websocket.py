"""The chat over WebSocket: frames, resumption, several sockets, stopping, and what a bad client sends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from empathetic_server.errors import BackendUnavailable
from empathetic_server.settings import Settings
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.chatting import SPOKEN, FakeGenerator, events, hello, receive, running, said, send, until_type

pytestmark = pytest.mark.anyio


async def test_a_conversation_over_one_socket() -> None:
    async with running(generators=[FakeGenerator()]) as at, at.socket() as socket:
        ready = await hello(socket)
        await send(socket, type="message", text="I had a terrible day", client_id="c1")
        first = await until_type(socket, "done")
        await send(socket, type="message", text="I'm Ana", client_id="c2")
        second = await until_type(socket, "done")
        stored = (await at.http.get(f"/v1/sessions/{ready['session_id']}")).json()
    assert set(ready) == {"type", "session_id", "protocol", "limits", "disclosure", "greeting"}
    assert (ready["protocol"], ready["limits"]) == (1, {"max_frame_bytes": 65536, "max_message_chars": 8000})
    assert (first[0]["type"], first[0]["client_id"], first[0]["duplicate"]) == ("ack", "c1", False)
    assert [frame["seq"] for frame in first + second] == list(range(1, len(first + second) + 1))
    assert said(first) == first[-1]["reply"] == SPOKEN
    assert len(second[-1]["trajectory"]["turns"]) == 2
    assert [message["text"] for message in stored["messages"]] == ["I had a terrible day", SPOKEN, "I'm Ana", SPOKEN]


async def test_a_repeated_message_is_acknowledged_and_not_run_twice_also_while_it_runs() -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    async with running(generators=[generator]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="one", client_id="same")
        before = [await receive(socket)]
        await generator.waiting.wait()
        await send(socket, type="message", text="one", client_id="same")
        before += await until_type(socket, "ack")
        generator.gates[2].set()
        after = await until_type(socket, "done")
        await send(socket, type="message", text="one", client_id="same")
        last = await receive(socket)
    assert len(generator.asked) == 1
    assert (before[-1]["duplicate"], before[-1]["message_id"]) == (True, before[0]["message_id"])
    assert (last["type"], last["duplicate"], last["message_id"]) == ("ack", True, before[0]["message_id"])
    assert [frame["seq"] for frame in [*before, *after, last]] == list(range(1, len(before) + len(after) + 2))


async def test_two_sockets_on_one_session_both_receive_its_frames_and_a_rest_turn_too() -> None:
    async with running(generators=[FakeGenerator()]) as at, at.socket() as one, at.socket() as two:
        session_id = (await hello(one))["session_id"]
        assert "greeting" not in await hello(two, session_id=session_id)
        await send(two, type="message", text="hello there", client_id="c1")
        seen = [await until_type(socket, "done") for socket in (one, two)]
        await at.http.post("/v1/chat", json={"message": "and by REST", "session_id": session_id})
        seen_later = [await until_type(socket, "done") for socket in (one, two)]
    assert seen[0] == seen[1]
    assert seen_later[0] == seen_later[1]
    assert seen_later[0][0]["seq"] == seen[0][-1]["seq"] + 1


async def test_leaving_and_resuming_at_every_frame_loses_and_doubles_nothing() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        async with at.socket() as socket:
            await hello(socket)
            await send(socket, type="message", text="hello there", client_id="c1")
            whole = await until_type(socket, "done")
        for count in range(len(whole) + 1):
            async with at.socket() as socket:
                session_id = (await hello(socket))["session_id"]
                await send(socket, type="message", text="hello there", client_id="c1")
                seen = [await receive(socket) for _ in range(count)]
            async with at.socket() as socket:
                ready = await hello(socket, session_id=session_id, last_seq=count)
                resumed = await receive(socket)
                rest: list[dict[str, Any]] = []
                if count < len(whole):
                    rest = await until_type(socket, "done")
            assert (ready["type"], resumed["type"], resumed["complete"]) == ("ready", "resumed", True)
            assert [frame["seq"] for frame in seen + rest] == list(range(1, len(whole) + 1))
            assert said(seen + rest) == (seen + rest)[-1]["reply"] == SPOKEN
            stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
            assert [message["text"] for message in stored["messages"]] == ["hello there", SPOKEN]


async def test_a_turn_goes_on_after_its_client_has_left() -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    async with running(generators=[generator]) as at:
        async with at.socket() as socket:
            session_id = (await hello(socket))["session_id"]
            await send(socket, type="message", text="hello there", client_id="c1")
            await generator.waiting.wait()
        generator.gates[2].set()
        await at.live.drain(20)
        stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
    assert not generator.aborted.is_set()
    assert (stored["messages"][1]["text"], stored["messages"][1]["finish_reason"]) == (SPOKEN, "stop")


@pytest.mark.parametrize("piece", [0, 1, 3])
async def test_stop_aborts_the_engine_and_stores_what_was_shown(piece: int) -> None:
    generator = FakeGenerator(gates={piece: asyncio.Event()})
    async with running(generators=[generator]) as at, at.socket() as socket:
        session_id = (await hello(socket))["session_id"]
        await send(socket, type="message", text="hello there", client_id="c1")
        await generator.waiting.wait()
        await send(socket, type="stop")
        frames = await until_type(socket, "done")
        stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
        assert generator.aborted.is_set()
        await send(socket, type="stop")
        await send(socket, type="ping")
        assert (await receive(socket))["type"] == "pong"
        generator.gates[piece].set()
        await send(socket, type="regenerate", reply_id=frames[-1]["reply_id"])
        again = await until_type(socket, "done")
    assert frames[-1]["finish_reason"] == "stopped"
    assert said(frames) == frames[-1]["reply"] == stored["messages"][1]["text"]
    assert SPOKEN.startswith(said(frames))
    assert (again[-1]["finish_reason"], again[-1]["reply"]) == ("stop", SPOKEN)


async def test_stop_after_the_end_changes_nothing() -> None:
    async with running(generators=[FakeGenerator()]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="hello there", client_id="c1")
        await until_type(socket, "done")
        await send(socket, type="stop")
        await send(socket, type="message", text="and again", client_id="c2")
        frames = await until_type(socket, "done")
    assert frames[-1]["finish_reason"] == "stop"


async def test_edit_and_regenerate_over_the_socket() -> None:
    async with running(generators=[FakeGenerator()]) as at, at.socket() as socket:
        session_id = (await hello(socket))["session_id"]
        await send(socket, type="message", text="helo", client_id="c1")
        first = (await until_type(socket, "done"))[-1]
        await send(socket, type="edit", message_id=first["message_id"], text="hello")
        second = await until_type(socket, "done")
        await send(socket, type="regenerate", reply_id=second[-1]["reply_id"])
        third = await until_type(socket, "done")
        await send(socket, type="regenerate", reply_id=first["reply_id"])
        error = await receive(socket)
        stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
    assert {frame["message_id"] for frame in second + third if "message_id" in frame} == {first["message_id"]}
    assert (error["type"], error["error"]["code"]) == ("error", "not_found")
    assert [message["text"] for message in stored["messages"]] == ["hello", SPOKEN]
    assert stored["messages"][1]["message_id"] == third[-1]["reply_id"]


async def test_a_message_while_a_turn_runs_is_refused_and_the_turn_goes_on() -> None:
    generator = FakeGenerator(gates={2: asyncio.Event()})
    async with running(generators=[generator]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="one", client_id="c1")
        await generator.waiting.wait()
        await send(socket, type="message", text="two", client_id="c2")
        error = (await until_type(socket, "error"))[-1]["error"]
        generator.gates[2].set()
        assert (await until_type(socket, "done"))[-1]["reply"] == SPOKEN
    assert (error["code"], error["retryable"]) == ("session_busy", True)


async def test_a_page_of_another_host_is_refused_before_the_handshake() -> None:
    async with running() as at:
        with pytest.raises(InvalidStatus) as refused:
            async with at.socket(origin="http://evil.example"):
                pass
        async with at.socket(origin=at.address) as own, at.socket() as no_browser:
            assert (await hello(own))["type"] == (await hello(no_browser))["type"] == "ready"
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param("{", "malformed_request", id="not JSON"),
        pytest.param(b"\x00\xff", "malformed_request", id="bytes"),
        pytest.param("[" * 50_000, "malformed_request", id="nested too deep"),
        pytest.param("[]", "invalid_request", id="no object"),
        pytest.param('{"type": "dance"}', "invalid_request", id="an unknown type"),
        pytest.param('{"type": "hello"}', "invalid_request", id="a second hello"),
        pytest.param('{"type": "message", "text": "x"}', "invalid_request", id="no client_id"),
        pytest.param('{"type": "message", "text": "", "client_id": "c"}', "invalid_request", id="an empty text"),
        pytest.param(json.dumps({"type": "message", "text": "x" * 8001, "client_id": "c"}), "invalid_request", id="a long text"),
        pytest.param('{"type": "edit", "message_id": "nobody", "text": "x"}', "not_found", id="an unknown message"),
        pytest.param('{"type": "regenerate", "reply_id": "nobody"}', "not_found", id="an unknown reply"),
    ],
)
async def test_a_wrong_frame_is_answered_and_the_socket_stays_open(frame: str | bytes, code: str) -> None:
    async with running(generators=[FakeGenerator()]) as at, at.socket() as socket:
        await hello(socket)
        await socket.send(frame)
        error = await receive(socket)
        await send(socket, type="message", text="hello there", client_id="c1")
        frames = await until_type(socket, "done")
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert set(error["error"]) == {"code", "message", "retryable", "request_id"}
    assert frames[-1]["reply"] == SPOKEN


async def test_the_first_frame_must_be_hello_and_an_unknown_session_is_not_found() -> None:
    async with running() as at, at.socket() as socket:
        await send(socket, type="ping")
        first = await receive(socket)
        unknown = await hello(socket, session_id="nobody")
        assert (await hello(socket))["type"] == "ready"
    assert (first["error"]["code"], unknown["error"]["code"]) == ("invalid_request", "not_found")


async def test_a_frame_over_64_kib_closes_with_1009() -> None:
    async with running() as at, at.socket() as socket:
        await hello(socket)
        await socket.send(json.dumps({"type": "message", "text": "x" * 65536, "client_id": "c"}))
        with pytest.raises(ConnectionClosed) as closed:
            await receive(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_stream_by_sse_can_be_resumed_over_a_socket() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        frames = events((await at.http.post("/v1/chat", json={"message": "hello there", "stream": True})).text)
        async with at.socket() as socket:
            await hello(socket, session_id=frames[0]["session_id"], last_seq=2)
            resumed = await receive(socket)
            rest = await until_type(socket, "done")
    assert (resumed["replayed"], resumed["complete"]) == (len(frames) - 2, True)
    assert rest == frames[2:]


async def test_a_generator_that_fails_over_the_socket_falls_back_to_written_words() -> None:
    generator = FakeGenerator(failures={0: BackendUnavailable("down")})
    async with running(generators=[generator]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="hello there", client_id="c1")
        frames = await until_type(socket, "done")
    assert frames[-1]["finish_reason"] == "fallback"
    assert said(frames) == frames[-1]["reply"] != ""


async def test_a_temporary_session_over_a_socket() -> None:
    settings = Settings(port=0, page=False, sessions="memory://")
    async with running(settings=settings) as at:
        async with at.socket() as socket:
            session_id = (await hello(socket, temporary=True))["session_id"]
            await send(socket, type="message", text="hello there", client_id="c1")
            await until_type(socket, "done")
        assert await at.live.chat._sessions.purge("9999") == 0  # nothing of it is in the store
        assert (await at.http.get(f"/v1/sessions/{session_id}")).status_code == 200
