"""What every `ReplyGenerator` must do; the fake has to pass what the real engines pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from empathetic_server.engines.protocols import ChatMessage, GenerationRequest, ReplyGenerator, Sampling
from empathetic_server.engines.vllm_generator import VllmGenerator
from empathetic_server.engines.written_generator import WrittenGenerator
from empathetic_server.errors import BackendUnavailable
from empathetic_server.strategies import ReplyPlan

from tests.scripted_openai import answers, scripted_openai
from tests.server.chatting import FakeGenerator
from tests.tiny_llama import build_llama
from tests.vllms import Vllm, vllm_server, wait_until_ready

pytestmark = pytest.mark.anyio
MESSAGES = (ChatMessage("system", "Be kind."), ChatMessage("user", "I lost my job"))
REQUEST = GenerationRequest(MESSAGES, Sampling(max_tokens=60, temperature=0.0), ReplyPlan("sadness", "initial", "unknown", "reflect"))


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A real vLLM on a model of two megabytes."""
    with vllm_server(build_llama(tmp_path_factory.mktemp("vllm") / "llama"), tmp_path_factory.mktemp("log") / "vllm.log") as started:
        wait_until_ready(started)
        yield started


@pytest.fixture(params=["fake", "written", "vllm", "embedded", pytest.param("vllm-itself", marks=pytest.mark.slow)])
async def generator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReplyGenerator]:
    async with AsyncExitStack() as stack:
        built: ReplyGenerator
        if request.param == "fake":
            built = FakeGenerator()
        elif request.param == "written":
            built = WrittenGenerator()
        elif request.param == "vllm":
            server = await stack.enter_async_context(scripted_openai(answers("I'm ", "sorry ", "to hear that.")))
            built = VllmGenerator(server.url, model=None, context_tokens=1024)
        elif request.param == "vllm-itself":
            built = VllmGenerator(request.getfixturevalue("vllm").url, model=None, context_tokens=None)
        else:
            genai = pytest.importorskip(
                "empathetic_server.engines.genai_generator", reason="onnxruntime-genai has no wheel for this Python"
            )
            tiny = pytest.importorskip("tests.tiny_generator")
            built = genai.GenaiGenerator(tiny.build_generator(tmp_path / "model"), threads=1)
        assert built.name == request.param.removesuffix("-itself")
        yield built
        await built.aclose()


async def written(generator: ReplyGenerator) -> str:
    chunks = [chunk async for chunk in generator.stream(REQUEST)]
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == "stop"
    return "".join(chunk.text for chunk in chunks)


async def test_the_chunks_join_to_a_sentence_and_the_last_alone_has_a_reason(generator: ReplyGenerator) -> None:
    assert (await written(generator))[-1] in ".?!"


async def test_a_stream_that_is_closed_early_leaves_the_engine_usable(generator: ReplyGenerator) -> None:
    async with aclosing(generator.stream(REQUEST)) as stream:
        assert (await anext(stream)).finish_reason is None
    assert await written(generator)


async def test_streams_at_once_are_all_whole(generator: ReplyGenerator) -> None:
    alone = await written(generator)
    assert await asyncio.gather(*(written(generator) for _ in range(3))) == [alone] * 3


async def test_tokens_are_counted(generator: ReplyGenerator) -> None:
    assert generator.count_tokens("") == 0
    assert 0 < generator.count_tokens("I lost") <= generator.count_tokens("I lost my job 💔")
    assert generator.context_tokens > REQUEST.sampling.max_tokens


async def test_replies_are_weighed_again_and_again_alike_whatever_was_written_between(generator: ReplyGenerator) -> None:
    """An engine may keep what it has computed. A reply's end counts, so that none has no token."""
    replies = ["I'm sorry to hear that.", "ok"]
    first = await generator.log_likelihoods(MESSAGES, replies)
    await written(generator)
    await generator.log_likelihoods(MESSAGES[1:], replies[::-1])
    again = await generator.log_likelihoods(MESSAGES, replies)
    if first is None:
        assert again is None
        return
    assert again is not None
    assert [likelihood.tokens for likelihood in again] == [likelihood.tokens for likelihood in first]
    assert all(likelihood.tokens > 1 for likelihood in first)
    assert all(likelihood.log_probability <= 0 for likelihood in first)
    assert [likelihood.log_probability for likelihood in again] == pytest.approx(
        [likelihood.log_probability for likelihood in first], rel=1e-3
    )


async def test_it_says_what_kind_of_prompt_its_model_reads(generator: ReplyGenerator) -> None:
    assert generator.prompt_style == "instructions"


async def test_a_closed_engine_is_not_ready_and_refuses(generator: ReplyGenerator) -> None:
    assert await generator.ready()
    await generator.aclose()
    await generator.aclose()
    assert not await generator.ready()
    with pytest.raises(BackendUnavailable):
        await written(generator)
    if not isinstance(generator, WrittenGenerator | FakeGenerator):  # they tell no probabilities, open or closed
        with pytest.raises(BackendUnavailable):
            await generator.log_likelihoods(MESSAGES, ["ok"])
