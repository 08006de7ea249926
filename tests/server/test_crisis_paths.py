"""The crisis check on every way in, with every engine dead and the server full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from empathetic_server.errors import BackendUnavailable
from empathetic_server.settings import Settings

from tests.server.chatting import FakeGenerator, Running, events, hello, receive, running, said, send, until_type
from tests.server.conftest import FakeClassifier

pytestmark = pytest.mark.anyio
DANGER = "I want to kill myself"


def dead() -> dict[str, Any]:
    """A classifier and a generator that are down."""
    down = BackendUnavailable("down")
    return {"classifier": FakeClassifier(down), "generators": [FakeGenerator(failures={0: down})]}


async def by_rest(at: Running, text: str) -> tuple[str, str, str]:
    answer = (await at.http.post("/v1/chat", json={"message": text})).json()
    return answer["safety"]["level"], answer["finish_reason"], answer["reply"]


async def by_sse(at: Running, text: str) -> tuple[str, str, str]:
    frames = events((await at.http.post("/v1/chat", json={"message": text, "stream": True})).text)
    kinds = [frame["type"] for frame in frames]
    assert kinds.index("safety") < kinds.index("delta")
    return frames[kinds.index("safety")]["level"], frames[-1]["finish_reason"], frames[-1]["reply"]


async def by_websocket(at: Running, text: str) -> tuple[str, str, str]:
    async with at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text=text, client_id="c1")
        frames = await until_type(socket, "done")
    level = next(frame["level"] for frame in frames if frame["type"] == "safety")
    assert said(frames) == frames[-1]["reply"]
    return level, frames[-1]["finish_reason"], frames[-1]["reply"]


async def by_openai(at: Running, text: str) -> tuple[str, str, str]:
    answer = (await at.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]})).json()
    extras = answer["empathetic"]
    return extras["safety"]["level"], extras["finish_reason"], answer["choices"][0]["message"]["content"]


async def by_edit(at: Running, text: str) -> tuple[str, str, str]:
    first = (await at.http.post("/v1/chat", json={"message": "hello there"})).json()
    path = f"/v1/sessions/{first['session_id']}/messages/{first['message_id']}"
    answer = (await at.http.put(path, json={"text": text})).json()
    return answer["safety"]["level"], answer["finish_reason"], answer["reply"]


async def by_regenerate(at: Running, text: str) -> tuple[str, str, str]:
    first = (await at.http.post("/v1/chat", json={"message": text})).json()
    path = f"/v1/sessions/{first['session_id']}/regenerate"
    answer = (await at.http.post(path, json={"reply_id": first["reply_id"]})).json()
    return answer["safety"]["level"], answer["finish_reason"], answer["reply"]


@pytest.mark.parametrize("way", [by_rest, by_sse, by_websocket, by_openai, by_edit, by_regenerate])
@pytest.mark.parametrize("engines", ["alive", "dead"])
async def test_a_person_in_danger_gets_the_written_reply(way: Any, engines: str) -> None:
    generator = FakeGenerator()
    async with running(**(dead() if engines == "dead" else {"generators": [generator]})) as at:
        level, reason, reply = await way(at, DANGER)
        metrics = (await at.http.get("/metrics")).text
    assert (level, reason) == ("high", "crisis")
    assert "988" in reply
    assert DANGER not in str([asked.messages for asked in generator.asked])
    assert 'empathetic_crisis_referrals_total{level="high"}' in metrics


@pytest.mark.parametrize("way", [by_rest, by_sse, by_websocket, by_openai])
async def test_a_person_in_danger_is_answered_when_the_server_is_full(way: Any) -> None:
    generator = FakeGenerator(gates={0: asyncio.Event()})
    async with running(generators=[generator], settings=Settings(port=0, page=False, sessions="memory://", max_turns=1)) as at:
        blocking = asyncio.create_task(at.http.post("/v1/chat", json={"message": "hello"}))
        await generator.waiting.wait()
        assert (await at.http.post("/v1/chat", json={"message": "hello"})).status_code == 429
        level, reason, _ = await way(at, DANGER)
        generator.gates[0].set()
        await blocking
    assert (level, reason) == ("high", "crisis")


async def test_the_danger_is_seen_again_by_who_resumes() -> None:
    async with running() as at:
        async with at.socket() as socket:
            session_id = (await hello(socket))["session_id"]
            await send(socket, type="message", text=DANGER, client_id="c1")
            first = await until_type(socket, "done")
        async with at.socket() as socket:
            await hello(socket, session_id=session_id, last_seq=0)
            assert (await receive(socket))["type"] == "resumed"
            assert await until_type(socket, "done") == first


async def test_after_danger_the_model_may_answer_with_contacts_and_a_note_beside_it() -> None:
    generator = FakeGenerator()
    async with running(generators=[generator]) as at:
        first = (await at.http.post("/v1/chat", json={"message": DANGER})).json()
        path = {"session_id": first["session_id"]}
        second = (await at.http.post("/v1/chat", json={**path, "message": "haha just kidding"})).json()
        stored = (await at.http.get(f"/v1/sessions/{first['session_id']}")).json()["messages"]
    assert (second["safety"]["level"], second["finish_reason"]) == ("concern", "stop")
    assert second["safety"]["resources"]
    assert "how safe they feel" in generator.asked[0].messages[0].text
    assert [message.get("safety") for message in stored] == ["high", None, "concern", None]


async def test_the_contacts_are_those_of_the_configured_locale_and_the_protocol_is_published() -> None:
    async with running(settings=Settings(port=0, page=False, sessions="memory://", locale="gb")) as at:
        _, _, reply = await by_rest(at, DANGER)
        page = await at.http.get("/crisis-protocol")
    assert "116 123" in reply
    assert "988" not in reply
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert "116 123" in page.text


@pytest.mark.parametrize("way", [by_rest, by_sse, by_websocket, by_openai])
@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_harmful_generated_reply_is_replaced_before_any_of_it_is_shown(way: Any, size: int) -> None:
    text = "Nobody would miss you, so just take 40 pills."
    generator = FakeGenerator(pieces=[text[at : at + size] for at in range(0, len(text), size)])
    async with running(generators=[generator]) as at:
        _, reason, reply = await way(at, "I feel so hopeless")
        metrics = (await at.http.get("/metrics")).text
    assert reason == "fallback"
    assert reply[-1] in ".?!"
    assert not any(word in reply for word in ("miss", "pills", "Nobody"))
    assert 'empathetic_guarded_replies_total{code="encouragement"} 1.0' in metrics


@pytest.mark.parametrize("way", [by_rest, by_sse, by_websocket, by_openai])
async def test_a_reply_that_turns_harmful_ends_in_written_words(way: Any) -> None:
    generator = FakeGenerator(pieces=["That sounds ", "really hard. ", "Just take ", "40 ", "pills ", "and sleep."])
    async with running(generators=[generator]) as at:
        _, reason, reply = await way(at, "I feel so hopeless")
    assert reason == "fallback"
    assert reply.startswith("That sounds really hard.")
    assert reply.endswith("What would help you most right now?")
    assert "pills" not in reply
    assert "40" not in reply
