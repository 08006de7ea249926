"""Chats against scripted servers: the times of pieces, and what is no reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from empathetic_bench.loads import Refused
from empathetic_bench.talking import Turn, say

from tests.benchmarks.serving import Handler, serving
from tests.scripted_openai import Exchange, Script, answers, dies, refuses, scripted_openai, sends

DONE = {"type": "done", "finish_reason": "stop", "timings": {"classify_ms": 2.5}}
FRAMES = [{"type": "emotion"}, {"type": "delta", "text": "Hello"}, {"type": "delta", "text": " there."}, DONE]


async def said(url: str, **parameters: Any) -> Turn:
    async with aiohttp.ClientSession() as session:
        return await say(session, url, "I lost my kite.", **parameters)


def to_openai(script: Script, **parameters: Any) -> tuple[Turn, dict[str, Any]]:
    """Say something to an OpenAI-compatible server; returns the turn, and what the server was asked."""

    async def run() -> tuple[Turn, dict[str, Any]]:
        async with scripted_openai(script) as scripted:
            return await said(f"{scripted.url}/chat/completions", **parameters), scripted.asked[0]

    return asyncio.run(run())


def to_ours(way: str, frames: Sequence[dict[str, Any]]) -> Turn:
    """Say something to a server that answers with these frames over a way in, and then closes."""

    async def over_websocket(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert (await socket.receive_json())["temporary"] is True
        await socket.send_json({"type": "ready"})
        assert (await socket.receive_json())["text"] == "I lost my kite."
        for frame in frames:
            await socket.send_json(frame)
        await socket.close()
        return socket

    async def over_sse(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["message"] == "I lost my kite."
        return web.Response(text="".join(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n" for frame in frames))

    async def run(handler: Handler, path: str) -> Turn:
        async with serving(handler) as address:
            return await said(address + path)

    return asyncio.run(run(over_websocket, "/v1/chat/ws") if way == "ws" else run(over_sse, "/v1/chat"))


def test_pieces_of_an_openai_compatible_server_are_timed_one_by_one() -> None:
    async def slowly(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.choice({"role": "assistant", "content": ""})
        for piece in ("Hel", "lo", "."):
            await asyncio.sleep(0.05)
            await exchange.pieces(piece)
        await exchange.end("length")

    turn, asked = to_openai(slowly)
    assert turn.first_ms is not None
    assert 50 <= turn.first_ms < turn.end_ms
    assert turn.pieces == ["Hel", "lo", "."]
    assert len(turn.gaps_ms) == 2
    assert sum(turn.gaps_ms) >= 90
    assert (turn.finish_reason, turn.classify_ms) == ("length", None)
    assert asked["messages"] == [{"role": "user", "content": "I lost my kite."}]


def test_an_engine_is_asked_exactly_what_it_is_to_be_asked() -> None:
    body = {"model": "scripted", "messages": [{"role": "system", "content": "Be kind."}], "stream": True, "temperature": 0.5}
    assert to_openai(answers("Hello"), body=body)[1] == body


@pytest.mark.parametrize("way", ["ws", "sse"])
def test_a_reply_of_this_projects_server_says_its_own_times(way: str) -> None:
    turn = to_ours(way, FRAMES)
    assert (turn.pieces, turn.finish_reason, turn.classify_ms) == (["Hello", " there."], "stop", 2.5)
    assert turn.piece_ms[1] <= turn.end_ms


@pytest.mark.parametrize("way", ["ws", "sse"])
@pytest.mark.parametrize(
    "frames", [FRAMES[:2], [FRAMES[1], {"type": "error", "error": {"code": "overloaded"}}]], ids=["cut-off", "an-error-in-it"]
)
def test_half_a_reply_is_none(way: str, frames: list[dict[str, Any]]) -> None:
    with pytest.raises(Refused):
        to_ours(way, frames)


@pytest.mark.parametrize(
    "script", [refuses(500), dies("Hel"), sends('data: {"error": {"message": "out of memory"}}\n\n')], ids=["status", "cut-off", "error"]
)
def test_an_engine_that_fails_is_refused(script: Script) -> None:
    with pytest.raises(Refused):
        to_openai(script)


def test_an_unknown_kind_of_chat_is_named() -> None:
    with pytest.raises(ValueError, match="/v1/talk"):
        asyncio.run(said("http://127.0.0.1:1/v1/talk"))
