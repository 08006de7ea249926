"""The chat over REST and Server-Sent Events, on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from empathetic_server.errors import BackendUnavailable, Overloaded
from empathetic_server.persona import DISCLOSURE
from empathetic_server.settings import Settings

from tests.server.chatting import SPOKEN, FakeGenerator, Running, events, running, said
from tests.server.conftest import FakeClassifier

pytestmark = pytest.mark.anyio


async def say(at: Running, message: str, **fields: Any) -> dict[str, Any]:
    response = await at.http.post("/v1/chat", json={"message": message, **fields})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


async def read(at: Running, session_id: str) -> dict[str, Any]:
    response = await at.http.get(f"/v1/sessions/{session_id}")
    assert response.status_code == 200, response.text
    session = response.json()
    assert isinstance(session, dict)
    return session


async def test_a_message_is_answered_with_everything_the_contract_names() -> None:
    generator = FakeGenerator()
    async with running(generators=[generator]) as at:
        answer = await say(at, "I had a terrible day")
        stored = await read(at, answer["session_id"])
    assert set(answer) == {
        *("session_id", "message_id", "reply_id", "reply", "emotion"),
        *("safety", "trajectory", "finish_reason", "timings"),
    }
    assert (answer["reply"], answer["finish_reason"]) == (SPOKEN, "stop")
    assert answer["safety"] == {"level": "none", "resources": []}
    assert set(answer["emotion"]) == {"index", "primary", "confident", "emotions", "valence", "truncated"}
    assert set(answer["timings"]) == {"classify_ms", "first_token_ms", "total_ms"}
    assert min(answer["timings"].values()) >= 0
    user, reply = stored["messages"]
    assert (user["role"], user["text"], user["message_id"]) == ("user", "I had a terrible day", answer["message_id"])
    assert (reply["role"], reply["text"], reply["message_id"], reply["finish_reason"]) == ("assistant", SPOKEN, answer["reply_id"], "stop")
    assert user["emotion"] == answer["emotion"]
    assert stored["trajectory"] == answer["trajectory"]


async def test_each_session_has_its_own_history_and_name() -> None:
    generator = FakeGenerator()
    async with running(generators=[generator]) as at:
        ana = await say(at, "I'm Ana")
        ben = await say(at, "my name is Ben")
        await say(at, "the canary is yellow", session_id=ana["session_id"])
        await say(at, "what did I say?", session_id=ben["session_id"])
        names = [(await read(at, answer["session_id"]))["user_name"] for answer in (ana, ben)]
    assert names == ["Ana", "Ben"]
    assert "canary" in str(generator.asked[2].messages)
    assert "canary" not in str(generator.asked[3].messages)
    assert [message.role for message in generator.asked[3].messages] == ["system", "user", "assistant", "user"]


async def test_a_stream_has_the_frames_of_the_contract_in_order_and_equals_what_is_stored() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        response = await at.http.post("/v1/chat", json={"message": "I had a terrible day", "stream": True})
        frames = events(response.text)
        stored = await read(at, frames[0]["session_id"])
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-request-id"]
    kinds = [frame["type"] for frame in frames]
    assert kinds[:2] == ["ack", "emotion"]
    assert kinds[-1] == "done"
    assert set(kinds[2:-1]) == {"delta"}
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert said(frames) == frames[-1]["reply"] == stored["messages"][1]["text"] == SPOKEN


async def test_without_classifier_emotion_is_null_and_its_event_left_out() -> None:
    async with running(classifier=FakeClassifier(BackendUnavailable("down")), generators=[FakeGenerator()]) as at:
        answer = await say(at, "I had a terrible day")
        streamed = events((await at.http.post("/v1/chat", json={"message": "hello there", "stream": True})).text)
        ready = await at.http.get("/readyz")
        metrics = (await at.http.get("/metrics")).text
    assert (answer["emotion"], answer["reply"]) == (None, SPOKEN)
    assert answer["trajectory"]["turns"] == [{"message_id": answer["message_id"], "primary": None, "valence": None}]
    assert "emotion" not in [frame["type"] for frame in streamed]
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert 'empathetic_degraded_total{part="classifier"} 2.0' in metrics
    assert 'empathetic_engine_ready{engine="fake",part="classifier"} 0.0' in metrics


@pytest.mark.parametrize(
    "generator",
    [
        pytest.param(FakeGenerator(failures={0: BackendUnavailable("down")}), id="a generator that is down"),
        pytest.param(FakeGenerator(failures={0: Overloaded("full", retry_after_s=1)}), id="an overloaded one"),
        pytest.param(FakeGenerator(pieces=[]), id="an empty reply"),
        pytest.param(FakeGenerator(pieces=["  \n ", "<|im_end|>"]), id="a reply of nothing but markers"),
        pytest.param(FakeGenerator(pieces=["As an AI language model, ", "I cannot help."]), id="a reply of meta talk alone"),
    ],
)
async def test_written_words_answer_when_the_generator_does_not(generator: FakeGenerator) -> None:
    async with running(generators=[generator]) as at:
        answer = await say(at, "I had a terrible day")
    assert answer["finish_reason"] == "fallback"
    assert answer["reply"][-1] in ".!?"


async def test_the_next_generator_answers_when_the_first_cannot() -> None:
    down, up = FakeGenerator(failures={0: BackendUnavailable("down")}, name="first"), FakeGenerator(name="second")
    async with running(generators=[down, up]) as at:
        answer = await say(at, "I had a terrible day")
        metrics = (await at.http.get("/metrics")).text
    assert (answer["finish_reason"], answer["reply"]) == ("stop", SPOKEN)
    assert 'empathetic_generator_replies_total{generator="first",outcome="failed"} 1.0' in metrics
    assert 'empathetic_generator_replies_total{generator="second",outcome="done"} 1.0' in metrics
    assert f'empathetic_generated_tokens_total{{generator="second"}} {float(len(SPOKEN.split()))}' in metrics
    assert 'empathetic_generator_seconds_count{generator="second",until="first piece"} 1.0' in metrics
    assert 'empathetic_engine_ready{engine="first",part="generator"} 1.0' in metrics


async def test_a_generator_that_dies_in_the_middle_leaves_whole_sentences_that_equal_what_is_stored() -> None:
    generator = FakeGenerator(pieces=["That sounds ", "like a long ", "and lonely "], failures={3: BackendUnavailable("died")})
    async with running(generators=[generator]) as at:
        frames = events((await at.http.post("/v1/chat", json={"message": "I had a terrible day", "stream": True})).text)
        stored = await read(at, frames[0]["session_id"])
    assert frames[-1]["finish_reason"] == "error"
    assert said(frames) == frames[-1]["reply"] == stored["messages"][1]["text"]
    assert said(frames).startswith("That sounds like a long and lonely")
    assert said(frames)[-1] in ".!?"


async def test_written_replies_do_not_repeat_within_a_session() -> None:
    async with running() as at:
        first = await say(at, "I lost my job")
        replies = [first["reply"]]
        replies += [(await say(at, f"it is sad {i}", session_id=first["session_id"]))["reply"] for i in range(20)]
    assert len(set(replies)) == len(replies)


async def test_a_turn_in_a_busy_session_is_refused_and_loses_nothing() -> None:
    generator = FakeGenerator(gates={1: asyncio.Event()})
    async with running(generators=[generator]) as at:
        session_id = (await at.http.post("/v1/sessions", json={})).json()["session_id"]
        first = asyncio.create_task(say(at, "one", session_id=session_id))
        await generator.waiting.wait()
        refused = await at.http.post("/v1/chat", json={"message": "two", "session_id": session_id})
        generator.gates[1].set()
        await first
        stored = await read(at, session_id)
    assert (refused.status_code, refused.json()["error"]["code"], refused.json()["error"]["retryable"]) == (409, "session_busy", True)
    assert [message["text"] for message in stored["messages"]] == ["one", SPOKEN]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_aborts_its_generation_and_what_it_saw_is_stored(stream: bool) -> None:
    generator = FakeGenerator(gates={3: asyncio.Event()})
    async with running(generators=[generator]) as at:
        session_id = (await at.http.post("/v1/sessions", json={})).json()["session_id"]
        body = {"message": "I had a terrible day", "session_id": session_id, "stream": stream}

        async def ask() -> None:
            async with (
                httpx2.AsyncClient(base_url=at.address, timeout=30) as client,
                client.stream("POST", "/v1/chat", json=body) as answer,
            ):
                async for _ in answer.aiter_raw():
                    pass

        asking = asyncio.create_task(ask())
        await generator.waiting.wait()
        asking.cancel()
        await asyncio.wait_for(generator.aborted.wait(), 20)
        await at.live.drain(20)
        stored = await read(at, session_id)
    reply = stored["messages"][1]
    assert reply["finish_reason"] == "stopped"
    assert SPOKEN.startswith(reply["text"])


async def test_too_many_turns_are_refused_but_a_person_in_danger_is_answered() -> None:
    generator = FakeGenerator(gates={0: asyncio.Event()})
    settings = Settings(port=0, page=False, sessions="memory://", max_turns=1)
    async with running(generators=[generator], settings=settings) as at:
        running_turn = asyncio.create_task(say(at, "one"))
        await generator.waiting.wait()
        refused = await at.http.post("/v1/chat", json={"message": "two"})
        completion = await at.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "two"}]})
        helped = await say(at, "I want to kill myself")
        generator.gates[0].set()
        await running_turn
    for response in (refused, completion):
        assert (response.status_code, response.json()["error"]["code"]) == (429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
    assert (helped["finish_reason"], helped["safety"]["level"]) == ("crisis", "high")
    assert "988" in helped["reply"]


async def test_a_crisis_reply_is_written_and_comes_before_the_classifier() -> None:
    generator = FakeGenerator()
    async with running(generators=[generator]) as at:
        frames = events((await at.http.post("/v1/chat", json={"message": "I am going to kill myself", "stream": True})).text)
        again = await say(at, "I want to kill myself", session_id=frames[0]["session_id"])
    assert [frame["type"] for frame in frames] == ["ack", "safety", "delta", "emotion", "done"]
    assert any("988" in resource["contact"] for resource in frames[1]["resources"])
    assert generator.asked == []
    assert again["reply"] != frames[-1]["reply"]


async def test_a_new_session_greets_discloses_and_asks_the_name() -> None:
    async with running() as at:
        created = (await at.http.post("/v1/sessions", json={})).json()
        bare = (await at.http.post("/v1/sessions")).json()
        session = await read(at, created["session_id"])
    assert set(created) == {"session_id", "greeting", "disclosure"}
    assert "Mira" in created["greeting"]
    assert created["disclosure"] == DISCLOSURE
    assert len(created["session_id"]) >= 22  # base64url: 128 bits take 22 characters
    assert created["session_id"] != bare["session_id"]
    assert session == {
        "session_id": created["session_id"],
        "user_name": None,
        "messages": [],
        "trajectory": {"turns": [], "state": "unknown", "stage": "initial"},
    }


async def test_the_name_can_be_seen_set_and_erased_and_a_feeling_is_no_name() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        session_id = (await say(at, "I'm sad"))["session_id"]
        path = f"/v1/sessions/{session_id}"
        names = [(await read(at, session_id))["user_name"]]
        await say(at, "I'm Ana", session_id=session_id)
        names.append((await read(at, session_id))["user_name"])
        for body in ({"user_name": "Zoë"}, {"user_name": None}):
            names.append((await at.http.patch(path, json=body)).json()["user_name"])
        wrong = [
            await at.http.patch(path, json=body) for body in ({"user_name": "x" * 41}, {"user_name": 'A" ignore'}, {"user_name": 3}, {})
        ]
    assert names == [None, "Ana", "Zoë", None]
    assert [(response.status_code, "user_name" in response.text) for response in wrong] == [(422, True)] * 4


async def test_a_deleted_session_is_gone_and_a_turn_in_it_is_stopped() -> None:
    generator = FakeGenerator(gates={1: asyncio.Event()})
    async with running(generators=[generator]) as at:
        session_id = (await at.http.post("/v1/sessions", json={})).json()["session_id"]
        turn = asyncio.create_task(say(at, "one", session_id=session_id))
        await generator.waiting.wait()
        deleted = await at.http.delete(f"/v1/sessions/{session_id}")
        answer = await turn
        after = [
            await at.http.get(f"/v1/sessions/{session_id}"),
            await at.http.delete(f"/v1/sessions/{session_id}"),
            await at.http.get(f"/v1/sessions/{session_id}/export"),
            await at.http.post("/v1/chat", json={"message": "hello", "session_id": session_id}),
            await at.http.patch(f"/v1/sessions/{session_id}", json={"user_name": "Ana"}),
        ]
    assert (deleted.status_code, answer["finish_reason"]) == (204, "stopped")
    assert [(response.status_code, response.json()["error"]["code"]) for response in after] == [(404, "not_found")] * 5


async def test_feedback_is_kept_and_exported_in_both_formats() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        answer = await say(at, "I'm Ana")
        path = f"/v1/sessions/{answer['session_id']}"
        given = {"message_id": answer["reply_id"], "rating": "up", "comment": "kind"}
        response = await at.http.post(f"{path}/feedback", json=given)
        unknown = await at.http.post(f"{path}/feedback", json={**given, "message_id": "rep_0"})
        wrong = await at.http.post(f"{path}/feedback", json={**given, "rating": "sideways"})
        exported = await at.http.get(f"{path}/export")
        markdown = await at.http.get(f"{path}/export?format=markdown")
        neither = await at.http.get(f"{path}/export?format=pdf")
    assert (response.status_code, response.json()) == (200, given)
    assert (unknown.status_code, wrong.status_code, neither.status_code) == (404, 422, 422)
    saved = exported.json()
    assert [entry["role"] for entry in saved["conversation_history"]] == ["assistant", "user", "assistant"]
    assert saved["conversation_history"][1]["emotions"][0].keys() == {"emotion", "score"}
    assert saved["user_feedback"][0] | {"timestamp": ""} == {
        "message_id": answer["reply_id"],
        "rating": "up",
        "comments": "kind",
        "timestamp": "",
    }
    assert len(saved["emotion_trajectory"]) == 1
    assert "attachment" in exported.headers["content-disposition"]
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert f"> {SPOKEN}" in markdown.text
    assert "> kind" in markdown.text
    assert "**Ana**" in markdown.text


async def test_regenerating_replaces_the_reply_and_what_followed() -> None:
    async with running(generators=[FakeGenerator()]) as at:
        first = await say(at, "I had a terrible day")
        await say(at, "and another", session_id=first["session_id"])
        path = f"/v1/sessions/{first['session_id']}"
        again = (await at.http.post(f"{path}/regenerate", json={"reply_id": first["reply_id"]})).json()
        stored = await read(at, first["session_id"])
        unknown = await at.http.post(f"{path}/regenerate", json={"reply_id": first["reply_id"]})
        a_message = await at.http.post(f"{path}/regenerate", json={"reply_id": first["message_id"]})
    assert again["message_id"] == first["message_id"]
    assert again["reply_id"] != first["reply_id"]
    assert [message["message_id"] for message in stored["messages"]] == [first["message_id"], again["reply_id"]]
    assert (unknown.status_code, a_message.status_code) == (404, 404)


async def test_written_replies_differ_when_regenerated_and_from_conversation_to_conversation() -> None:
    async with running() as at:
        first = await say(at, "I had a terrible day")
        path, reply = f"/v1/sessions/{first['session_id']}", first
        replies = [first["reply"]]
        for _ in range(5):
            reply = (await at.http.post(f"{path}/regenerate", json={"reply_id": reply["reply_id"]})).json()
            assert reply["reply"] != replies[-1]
            replies.append(reply["reply"])
        openings = {(await say(at, "I had a terrible day"))["reply"] for _ in range(20)}
    assert len(openings) > 5


async def test_editing_a_message_drops_what_followed_and_answers_anew() -> None:
    generator = FakeGenerator()
    async with running(generators=[generator]) as at:
        first = await say(at, "I had a terrible day")
        second = await say(at, "and another", session_id=first["session_id"])
        path = f"/v1/sessions/{first['session_id']}/messages"
        response = await at.http.put(f"{path}/{first['message_id']}", json={"text": "I had a great day", "stream": True})
        stored = await read(at, first["session_id"])
        unknown = [
            await at.http.put(f"{path}/{name}", json={"text": "x"}) for name in (second["message_id"], stored["messages"][1]["message_id"])
        ]
    assert events(response.text)[-1]["message_id"] == first["message_id"]
    assert [message["text"] for message in stored["messages"]] == ["I had a great day", SPOKEN]
    assert "terrible" not in str(generator.asked[-1].messages)
    assert [answer.status_code for answer in unknown] == [404, 404]


async def test_a_temporary_session_works_and_never_reaches_the_store() -> None:
    settings = Settings(port=0, page=False, sessions="memory://")
    async with running(settings=settings) as at:
        answer = await say(at, "hello", temporary=True)
        follow_up = await say(at, "I'm Ana", session_id=answer["session_id"])
        stored = await read(at, answer["session_id"])
        durable = at.live.chat._sessions  # the test is about what is not in it
        assert await durable.purge("9999") == 0
    assert follow_up["session_id"] == answer["session_id"]
    assert len(stored["messages"]) == 4


@pytest.mark.parametrize(
    ("body", "status", "code", "names"),
    [
        pytest.param(b"{", 400, "malformed_request", "JSON", id="not JSON"),
        pytest.param(b'{"message": "\xff"}', 400, "malformed_request", "JSON", id="not UTF-8"),
        pytest.param(b"[" * 100_000, 400, "malformed_request", "deep", id="nested too deep"),
        pytest.param(b'{"message": NaN}', 400, "malformed_request", "JSON", id="NaN"),
        pytest.param(b"[]", 422, "invalid_request", "object", id="no object"),
        pytest.param(b"{}", 422, "invalid_request", "message", id="no message"),
        pytest.param(b'{"message": ""}', 422, "invalid_request", "message", id="empty"),
        pytest.param(b'{"message": " \\u0000\\n "}', 422, "invalid_request", "message", id="blank after cleaning"),
        pytest.param(json.dumps({"message": "x" * 8001}).encode(), 422, "invalid_request", "message", id="too long"),
        pytest.param(b'{"message": 5}', 422, "invalid_request", "message", id="a number"),
        pytest.param(b'{"message": "x", "stream": "yes"}', 422, "invalid_request", "stream", id="a flag that is text"),
        pytest.param(b'{"message": "x", "secret-canary": 1}', 422, "invalid_request", "unknown field", id="an unknown field"),
        pytest.param(b'{"message": "x", "session_id": "nobody"}', 404, "not_found", "session", id="an unknown session"),
    ],
)
async def test_bad_input_is_named_and_not_repeated(body: bytes, status: int, code: str, names: str) -> None:
    async with running() as at:
        response = await at.http.post("/v1/chat", content=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert names in error["message"]
    assert "canary" not in response.text


async def test_a_message_is_cleaned_of_what_no_store_takes() -> None:
    async with running() as at:
        response = await at.http.post("/v1/chat", content=b'{"message": "I miss\\u0000 you \\ud83d \\ud83d\\udc94"}')
        stored = await read(at, response.json()["session_id"])
    assert stored["messages"][0]["text"] == "I miss you  💔"
