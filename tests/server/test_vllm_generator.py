"""The adapter of OpenAI-compatible servers, against one that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import replace

import anyio
import httpx2
import pytest
from empathetic_server.engines.openai_answers import translated
from empathetic_server.engines.protocols import ChatMessage, Chunk, GenerationRequest, Likelihood, PromptStyleChanged, Sampling
from empathetic_server.engines.vllm_generator import NOTE_READER, VllmGenerator
from empathetic_server.errors import BackendError, BackendUnavailable, DeadlineExceeded, EmpatheticError, Overloaded
from empathetic_server.strategies import ReplyPlan

from tests.scripted_openai import Exchange, Script, answers, dies, never_ends, refuses, scripted_openai, sends, stalls, waits

pytestmark = pytest.mark.anyio
CANARY = "canary-2b1d"
PLAN = ReplyPlan("sadness", "initial", "unknown", "reflect")
REQUEST = GenerationRequest((ChatMessage("system", "Be kind."), ChatMessage("user", CANARY)), Sampling(50, 0.7, 0.9), PLAN)
PROTOCOL_ERROR = json.dumps({"error": {"message": CANARY, "type": "x", "code": 500}})


def generator(url: str, **deadlines: float) -> VllmGenerator:
    return VllmGenerator(url, model=None, context_tokens=1024, **deadlines)


async def written(engine: VllmGenerator, request: GenerationRequest = REQUEST) -> list[Chunk]:
    return [chunk async for chunk in engine.stream(request)]


async def test_pieces_arrive_in_order_and_the_last_has_the_reason() -> None:
    async with scripted_openai(answers("I'm ", "sorry."), answers("and", finish_reason="length")) as server:
        engine = generator(server.url)
        assert await written(engine) == [Chunk("I'm "), Chunk("sorry."), Chunk("", "stop")]
        assert (await written(engine))[-1] == Chunk("", "length")
        await engine.aclose()


async def test_the_request_has_the_model_that_is_listed_and_only_what_is_set() -> None:
    async with scripted_openai() as server:
        engine = generator(server.url)
        await written(engine)
        await written(engine, GenerationRequest(REQUEST.messages, Sampling(9, seed=3, stop=("END",)), PLAN))
        await written(engine, GenerationRequest(REQUEST.messages, Sampling(9, repetition_penalty=1.2), PLAN))
        await engine.aclose()
    common = {
        "model": "scripted",
        "stream": True,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": CANARY}],
    }
    assert server.asked[0] == common | {"max_tokens": 50, "temperature": 0.7, "top_p": 0.9}
    assert server.asked[1] == common | {"max_tokens": 9, "seed": 3, "stop": ["END"]}
    assert server.asked[2] == common | {"max_tokens": 9, "repetition_penalty": 1.2}


async def test_the_models_name_says_what_kind_of_prompt_it_reads_and_another_kind_is_refused_unsent() -> None:
    async with scripted_openai() as server:
        server.model["id"] = NOTE_READER
        engine = VllmGenerator(server.url, model=None, context_tokens=None)
        assert engine.prompt_style == "instructions"  # a guess, before it has asked
        with pytest.raises(PromptStyleChanged):
            await written(engine)
        assert (engine.prompt_style, server.asked) == ("note", [])
        assert await written(engine, replace(REQUEST, prompt_style="note"))
        await engine.aclose()
        named = VllmGenerator(server.url, model=NOTE_READER, context_tokens=None)
        assert named.prompt_style == "note"
        await named.aclose()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(refuses(400, PROTOCOL_ERROR), BackendUnavailable, id="a prompt that is too long"),
        pytest.param(refuses(404, PROTOCOL_ERROR), BackendUnavailable, id="an unknown model"),
        pytest.param(refuses(500, PROTOCOL_ERROR), BackendUnavailable, id="a server error"),
        pytest.param(refuses(502, f"<html>{CANARY}</html>"), BackendUnavailable, id="a proxy's page"),
        pytest.param(refuses(429, PROTOCOL_ERROR, retry_after="7"), Overloaded, id="overload"),
        pytest.param(sends(f"data: {{{CANARY}\n\n"), BackendUnavailable, id="garbage"),
        pytest.param(sends(f"<html>{CANARY}</html>", "text/html"), BackendUnavailable, id="a page with status 200"),
        pytest.param(sends(f"data: {PROTOCOL_ERROR}\n\n"), BackendUnavailable, id="an error in the stream"),
        pytest.param(sends('data: {"choices": null}\n\n'), BackendUnavailable, id="no choices"),
        pytest.param(sends('data: {"choices": [{"delta": {"content": 5}}]}\n\n'), BackendUnavailable, id="a number for text"),
        pytest.param(sends("data: [DONE]\n\n"), BackendUnavailable, id="an end without a reason"),
        pytest.param(dies(), BackendUnavailable, id="death before the first token"),
        pytest.param(dies("I'm "), BackendUnavailable, id="death in the middle"),
        pytest.param(stalls(), DeadlineExceeded, id="no first token"),
    ],
)
async def test_what_goes_wrong_is_our_error_without_any_text(script: Script, error: type[BackendError]) -> None:
    async with scripted_openai(script) as server:
        engine = generator(server.url, first_token_s=1.0)
        with pytest.raises(error) as failure:
            await written(engine)
        await engine.aclose()
    assert CANARY not in repr(failure.value)
    assert failure.value.__cause__ is None
    if isinstance(failure.value, Overloaded):
        assert failure.value.retry_after_s == 7


async def test_a_stall_in_the_middle_ends_at_the_total_deadline() -> None:
    async with scripted_openai(stalls("I'm ")) as server:
        engine = generator(server.url, total_s=2)
        stream = engine.stream(REQUEST)
        assert await anext(stream) == Chunk("I'm ")
        with pytest.raises(DeadlineExceeded):
            await anext(stream)
        await asyncio.wait_for(server.exchanges[0].aborted.wait(), 20)
        await engine.aclose()


async def test_a_failure_before_the_first_token_is_tried_again_and_one_after_it_is_not() -> None:
    async with scripted_openai(refuses(503), dies(), answers("ok.")) as server:
        engine = generator(server.url)
        assert await written(engine) == [Chunk("ok."), Chunk("", "stop")]
        await engine.aclose()
    assert len(server.asked) == 3
    async with scripted_openai(dies("I'm "), answers("ok.")) as server:
        engine = generator(server.url)
        with pytest.raises(BackendUnavailable, match="broke off"):
            await written(engine)
        await engine.aclose()
    assert len(server.asked) == 1


async def test_replies_come_over_one_connection_whose_end_is_read() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                if head.startswith("get"):
                    body = json.dumps({"data": [{"id": "x"}]}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
                event = json.dumps({"choices": [{"delta": {"content": "ok."}, "finish_reason": "stop"}]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                for line in (b"data: %s\n\n" % event, b": a remark\n\n", b"data: [DONE]\n\n", b""):
                    writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                    await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        engine = generator(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        for _ in range(3):
            assert await written(engine) == [Chunk("ok.", "stop")]
        await engine.aclose()
    assert connections == 1


async def test_what_is_never_sent_after_the_last_chunk_is_not_waited_for() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.choice({"content": "ok."}, "stop")
        await asyncio.Event().wait()

    async with scripted_openai(script) as server:
        engine = generator(server.url)
        assert await asyncio.wait_for(written(engine), 20) == [Chunk("ok.", "stop")]
        await engine.aclose()


async def test_closing_a_stream_early_aborts_the_generation_and_the_next_one_works() -> None:
    async with scripted_openai(never_ends("la "), answers("ok.")) as server:
        engine = generator(server.url)
        async with aclosing(engine.stream(REQUEST)) as stream:
            assert await anext(stream) == Chunk("la ")
        await asyncio.wait_for(server.exchanges[0].aborted.wait(), 20)
        assert (await written(engine))[0] == Chunk("ok.")
        await engine.aclose()


async def test_cancelling_before_the_first_token_aborts_too() -> None:
    async with scripted_openai(stalls()) as server:
        engine = generator(server.url)
        task = asyncio.create_task(written(engine))
        while not server.exchanges:  # noqa: ASYNC110  # the request crosses a socket
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait_for(server.exchanges[0].aborted.wait(), 20)
        with suppress(asyncio.CancelledError):
            await task
        await engine.aclose()


async def test_a_slow_answer_is_waited_for() -> None:
    gate = asyncio.Event()
    async with scripted_openai(waits(gate, "ok.")) as server:
        engine = generator(server.url)
        task = asyncio.create_task(written(engine))
        while not server.exchanges:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
        gate.set()
        assert (await task)[0] == Chunk("ok.")
        await engine.aclose()


async def test_a_server_that_is_not_there_is_left_alone_and_is_not_ready() -> None:
    async with scripted_openai() as server:
        address = server.url
    engine = generator(address)
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await written(engine)
    with pytest.raises(BackendUnavailable, match="does not answer"):
        await written(engine)
    assert not await engine.ready()
    await engine.aclose()


async def test_a_server_that_leaves_people_waiting_is_asked_by_one_probe_until_it_answers() -> None:
    async with scripted_openai(stalls(), refuses(503), answers("ok.")) as server:
        engine = generator(server.url, first_token_s=1.0)
        with pytest.raises(DeadlineExceeded):
            await written(engine)
        assert not await engine.ready()
        with pytest.raises(BackendUnavailable, match="does not answer"):
            await written(engine)
        with anyio.fail_after(20):
            while not await engine.ready():  # noqa: ASYNC110  # the probe is a request
                await asyncio.sleep(0.01)
        assert (await written(engine))[0] == Chunk("ok.")
        await engine.aclose()
    assert [body.get("max_tokens") for body in server.asked] == [50, 1, 1, 50]


async def test_a_model_that_is_not_listed_is_named_and_not_asked_for() -> None:
    async with scripted_openai() as server:
        engine = VllmGenerator(server.url, model="another", context_tokens=None)
        assert not await engine.ready()
        with pytest.raises(BackendUnavailable, match="does not serve another"):
            await written(engine)
        await engine.aclose()
    assert server.asked == []


async def test_a_model_that_is_gone_is_asked_for_by_its_new_name() -> None:
    async with scripted_openai(refuses(404), answers("ok.")) as server:
        engine = generator(server.url)
        assert (await written(engine))[0] == Chunk("ok.")
        server.model["id"] = "renamed"
        server.scripts = [refuses(404), answers("ok.")]
        server.asked.clear()
        assert (await written(engine))[0] == Chunk("ok.")
        await engine.aclose()
    assert [body["model"] for body in server.asked] == ["scripted", "renamed"]


async def test_the_window_is_the_servers_the_settings_may_lower_it_and_it_is_a_guess_before_either() -> None:
    async with scripted_openai() as server:
        server.model["max_model_len"] = 2048
        windows = []
        for wanted in (None, 1024, 8192):
            engine = VllmGenerator(server.url, model=None, context_tokens=wanted)
            windows.append((engine.context_tokens, await engine.ready(), engine.context_tokens))
            await engine.aclose()
    assert windows == [(4096, True, 2048), (1024, True, 1024), (8192, True, 2048)]


async def test_a_prompt_that_a_gateway_does_not_count_is_sent_all_the_same() -> None:
    async with scripted_openai(refuses(404), refuses(400), refuses(404)) as server:
        server.model["max_model_len"] = 1024
        engine = VllmGenerator(server.url, model=None, context_tokens=None)
        with pytest.raises(BackendUnavailable, match="400"):
            await written(engine, GenerationRequest((ChatMessage("user", "x" * 2000),), Sampling(50), PLAN))
        await engine.aclose()
    assert [body.get("max_tokens") for body in server.asked] == [None, 50, None]


SAID = (ChatMessage("user", "My kite is torn."),)


async def test_it_tells_how_probable_replies_are_their_ends_included() -> None:
    async with scripted_openai() as server:
        server.model["max_model_len"] = 1024
        server.log_probability = lambda spoken: -0.5 * len(spoken[-1]["content"].split())
        engine = generator(server.url)
        found = await engine.log_likelihoods(SAID, ["Oh no.", "So?"])
        await engine.aclose()
    assert found == (Likelihood(-3.0, 3), Likelihood(-1.0, 2))
    assert (server.asked, [len(body["messages"]) for body in server.weighed]) == ([], [2, 2])


@pytest.mark.parametrize(
    "answer",
    ["{}", '{"prompt_logprobs": null}', '{"prompt_logprobs": [null]}', '{"prompt_logprobs": [null, {"7": {"rank": 1}}]}', "[", "[]"],
)
async def test_a_server_that_does_not_tell_how_probable_a_reply_is_is_an_error(answer: str) -> None:
    async with scripted_openai(sends('{"count": 1}', "application/json"), sends(answer, "application/json")) as server:
        server.model["max_model_len"] = 1024
        engine = generator(server.url)
        assert await engine.ready()
        with pytest.raises(BackendUnavailable, match="unusable"):
            await engine.log_likelihoods(SAID, ["So?"])
        await engine.aclose()


async def test_a_gateway_that_counts_no_tokens_cannot_tell_how_probable_a_reply_is() -> None:
    async with scripted_openai(refuses(404)) as server:
        server.model["max_model_len"] = 1024
        engine = generator(server.url)
        assert await engine.ready()
        assert await engine.log_likelihoods(SAID, ["So?"]) is None
        await engine.aclose()


async def test_readiness_is_the_servers_and_a_closed_engine_refuses() -> None:
    async with scripted_openai() as server:
        engine = generator(server.url)
        assert await engine.ready()
        await engine.aclose()
        await engine.aclose()
        assert not await engine.ready()
        with pytest.raises(BackendUnavailable):
            await written(engine)


async def test_streams_at_once_do_not_mix() -> None:
    async with scripted_openai(*(answers(*(f"{name} ",) * 20) for name in "abcd")) as server:
        engine = generator(server.url)
        replies = await asyncio.gather(*(written(engine) for _ in range(4)))
        await engine.aclose()
    assert sorted("".join(chunk.text for chunk in reply) for reply in replies) == [f"{name} " * 20 for name in "abcd"]


def exceptions_of(module: object, root: type[Exception]) -> Iterator[type[Exception]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, root):
            yield found


@pytest.mark.parametrize("kind", {*exceptions_of(httpx2, Exception)}, ids=lambda kind: str(kind.__name__))
def test_every_exception_of_the_library_is_translated(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    if isinstance(error, httpx2.HTTPStatusError):
        error.response = httpx2.Response(418)
    with pytest.raises(EmpatheticError), translated():
        raise error
