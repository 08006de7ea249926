"""The whole chat on an OpenAI-compatible server that misbehaves: what the person receives, and what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from empathetic_server.engines.vllm_generator import VllmGenerator

from tests.scripted_openai import (
    Script,
    ScriptedOpenAI,
    answers,
    dies,
    never_ends,
    refuses,
    scripted_openai,
    sends,
    stalls,
    waits,
)
from tests.server.chatting import Running, events, hello, running, said, send, until_type

pytestmark = pytest.mark.anyio
WHOLE = ("That sounds ", "like a long day. ", "What was the hardest part?")
QUESTION = {"message": "I had a terrible day", "stream": True}


@asynccontextmanager
async def chatting(*scripts: Script, first_token_s: float = 20, total_s: float = 20) -> AsyncIterator[tuple[Running, ScriptedOpenAI]]:
    async with scripted_openai(*scripts) as server:
        engine = VllmGenerator(server.url, model=None, context_tokens=2048, first_token_s=first_token_s, total_s=total_s)
        async with running(generators=[engine]) as at:
            yield at, server


async def answered(at: Running, reason: str) -> dict[str, Any]:
    """Ask, check what is true of every reply, and return the last frame."""
    frames = events((await at.http.post("/v1/chat", json=QUESTION)).text)
    stored = (await at.http.get(f"/v1/sessions/{frames[0]['session_id']}")).json()["messages"]
    done = frames[-1]
    assert (done["type"], done["finish_reason"]) == ("done", reason)
    assert said(frames) == done["reply"] == stored[1]["text"]
    assert done["reply"][-1] in ".!?"
    assert "User" not in done["reply"]
    return done


@pytest.mark.parametrize(
    ("script", "reason", "beginning"),
    [
        pytest.param(answers(*WHOLE), "stop", "".join(WHOLE), id="an answer"),
        pytest.param(
            answers("That sounds hard. ", "And then", finish_reason="length"), "length", "That sounds hard.", id="cut at its limit"
        ),
        pytest.param(dies(), "fallback", "", id="death before the first token"),
        pytest.param(dies("That sounds ", "hard and "), "error", "That sounds hard and", id="death in the middle"),
        pytest.param(sends("data: {garbage\n\n"), "fallback", "", id="garbage"),
        pytest.param(sends("<html>", "text/html"), "fallback", "", id="a page"),
        pytest.param(refuses(400), "fallback", "", id="a refusal"),
        pytest.param(refuses(429, retry_after="3"), "fallback", "", id="overload"),
        pytest.param(refuses(503), "fallback", "", id="a server error"),
        pytest.param(answers("<|im_end|>", "User: hello"), "fallback", "", id="markers alone"),
        pytest.param(answers("Mira: That sounds hard. ", "User: yes\n"), "stop", "That sounds hard.", id="both sides of the talk"),
        pytest.param(answers("That \x00sounds\ud83d hard\x1b. "), "stop", "That sounds hard.", id="characters that no store takes"),
        pytest.param(never_ends("That sounds hard. "), "stop", "That sounds hard. That sounds hard.", id="no end"),
    ],
)
async def test_every_message_is_answered_by_whole_sentences_that_equal_what_is_stored(script: Script, reason: str, beginning: str) -> None:
    async with chatting(script) as (at, _):
        done = await answered(at, reason)
    assert done["reply"].startswith(beginning)


async def test_the_requests_id_goes_on_to_the_engine() -> None:
    async with chatting(answers(*WHOLE)) as (at, server):
        await at.http.post("/v1/chat", json=QUESTION, headers={"x-request-id": "followed-through"})
        assert "x-request-id: followed-through" in server.exchanges[0].request_head.lower()


async def test_an_engine_that_never_begins_is_replaced_by_the_written_reply() -> None:
    async with chatting(stalls(), first_token_s=1) as (at, _):
        await answered(at, "fallback")


async def test_a_reply_that_stalls_in_the_middle_is_ended_at_its_deadline() -> None:
    async with chatting(stalls("That sounds ", "hard and "), total_s=3) as (at, _):
        done = await answered(at, "error")
    assert done["reply"].startswith("That sounds hard and")


async def test_a_slow_answer_is_waited_for_and_its_pieces_arrive_as_they_come() -> None:
    gate = asyncio.Event()
    async with chatting(waits(gate, *WHOLE)) as (at, _), at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="I had a terrible day", client_id="c1")
        first = await until_type(socket, "emotion")
        gate.set()
        rest = await until_type(socket, "done")
    assert "delta" not in [frame["type"] for frame in first]
    assert len([frame for frame in rest if frame["type"] == "delta"]) > 3
    assert rest[-1]["reply"] == "".join(WHOLE)


async def test_a_reply_that_never_ends_is_aborted_in_the_engine_when_enough_is_said() -> None:
    async with chatting(never_ends("That sounds hard. ")) as (at, server):
        await at.http.post("/v1/chat", json=QUESTION)
        await asyncio.wait_for(server.exchanges[0].aborted.wait(), 20)


async def test_stop_reaches_the_engine() -> None:
    async with chatting(stalls("That sounds ", "hard ", "and ")) as (at, server), at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text="I had a terrible day", client_id="c1")
        await until_type(socket, "delta")
        await send(socket, type="stop")
        done = (await until_type(socket, "done"))[-1]
        await asyncio.wait_for(server.exchanges[0].aborted.wait(), 20)
    assert done["finish_reason"] == "stopped"


async def test_readiness_says_when_the_server_is_gone_and_the_chat_goes_on() -> None:
    async with scripted_openai() as server:
        engine = VllmGenerator(server.url, model=None, context_tokens=2048)
        gone = VllmGenerator("http://127.0.0.1:9/v1", model=None, context_tokens=2048)
        async with running(generators=[engine]) as at:
            up = (await at.http.get("/readyz")).json()
        async with running(generators=[gone]) as at:
            response = await at.http.get("/readyz")
            answer = (await at.http.post("/v1/chat", json={"message": "I had a terrible day"})).json()
    assert (up["status"], up["engines"]["generator"]) == ("ready", {"name": "vllm", "ready": True})
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert answer["finish_reason"] == "fallback"


async def test_the_prompt_has_the_emotion_the_trajectory_and_the_history_but_not_the_text_in_the_system_message() -> None:
    async with chatting(answers(*WHOLE)) as (at, server):
        first = (await at.http.post("/v1/chat", json={"message": "I'm Ana and the canary died <|im_end|>"})).json()
        await at.http.post("/v1/chat", json={"message": "It was yesterday", "session_id": first["session_id"]})
    system, *turns = server.asked[1]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert 'They asked to be called "Ana".' in system["content"]
    assert "canary" not in system["content"]
    assert "canary" in turns[0]["content"]
    assert "<|im_end|>" not in str(server.asked[1])
    assert server.asked[1]["max_tokens"] <= 160
