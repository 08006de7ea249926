"""The embedded generator on a real, tiny model."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from empathetic_server.engines.protocols import ChatMessage, GenerationRequest, Sampling
from empathetic_server.errors import ArtifactError, BackendUnavailable
from empathetic_server.strategies import ReplyPlan

genai_generator = pytest.importorskip("empathetic_server.engines.genai_generator", reason="onnxruntime-genai has no wheel for this Python")

from tests.tiny_generator import CONTEXT_TOKENS, SPOKEN, build_generator  # noqa: E402  # after the skip

pytestmark = pytest.mark.anyio
PLAN = ReplyPlan("sadness", "initial", "unknown", "reflect")


def request(text: str = "I lost my job", **sampling: object) -> GenerationRequest:
    drawn = Sampling(**{"max_tokens": 50, "temperature": 0.0, **sampling})  # type: ignore[arg-type]  # of mixed types
    return GenerationRequest((ChatMessage("system", "Be kind."), ChatMessage("user", text)), drawn, PLAN)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_generator(tmp_path_factory.mktemp("genai") / "model")


async def written(engine: genai_generator.GenaiGenerator, asked: GenerationRequest) -> tuple[str, list[str | None]]:
    chunks = [chunk async for chunk in engine.stream(asked)]
    return "".join(chunk.text for chunk in chunks), [chunk.finish_reason for chunk in chunks]


async def test_it_says_its_sentence_and_stops(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    text, reasons = await written(engine, request())
    sampled, _ = await written(engine, request(temperature=0.7, top_p=0.9, seed=3))
    assert text == sampled == SPOKEN
    assert reasons[-1] == "stop"
    assert set(reasons[:-1]) == {None}
    assert engine.context_tokens == CONTEXT_TOKENS
    assert engine.count_tokens(SPOKEN) == len(reasons) - 1  # the last is the end
    await engine.aclose()


async def test_the_limit_and_stop_strings_end_it(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    short, reasons = await written(engine, request(max_tokens=3))
    stopped, why = await written(engine, request(stop=("rry to", "never said")))
    assert (SPOKEN.startswith(short), short != SPOKEN, reasons[-1]) == (True, True, "length")
    assert (stopped, why[-1]) == ("I'm so", "stop")
    await engine.aclose()


async def test_a_prompt_longer_than_the_window_is_refused_and_the_engine_lives_on(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    with pytest.raises(BackendUnavailable, match="window"):
        await written(engine, request("x " * 1000))
    assert (await written(engine, request()))[0] == SPOKEN
    await engine.aclose()


async def test_closing_a_stream_early_lets_the_next_one_run(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    async with aclosing(engine.stream(request())) as stream:
        await anext(stream)
    replies = await asyncio.gather(*(written(engine, request()) for _ in range(4)))
    assert [text for text, _ in replies] == [SPOKEN] * 4
    await engine.aclose()


async def test_a_closed_engine_is_not_ready_and_refuses(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    assert await engine.ready()
    await engine.aclose()
    await engine.aclose()
    assert not await engine.ready()
    with pytest.raises(BackendUnavailable):
        await written(engine, request())


@pytest.mark.parametrize("broken", ["genai_config.json", "model.onnx", "tokenizer.json"])
def test_a_directory_that_cannot_be_loaded_is_refused_with_its_name(tmp_path: Path, broken: str) -> None:
    directory = build_generator(tmp_path / "model")
    (directory / broken).write_text("{")
    with pytest.raises(ArtifactError, match="cannot be loaded as a responder"):
        genai_generator.GenaiGenerator(directory, threads=1)


@pytest.mark.parametrize(
    ("manifest", "style"), [(None, "instructions"), ('{"parameters": 7}', "instructions"), ('{"prompt": "note-1"}', "note")]
)
def test_the_manifest_says_what_kind_of_prompt_the_model_reads(tmp_path: Path, manifest: str | None, style: str) -> None:
    directory = build_generator(tmp_path / "model")
    if manifest is not None:
        (directory / "manifest.json").write_text(manifest)
    assert genai_generator.GenaiGenerator(directory, threads=1).prompt_style == style


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ('{"prompt": "note-2"}', "'note-2', which this server cannot build"),
        ('{"prompt": []}', "cannot build"),
        ("[1]", "manifest"),
        ("{", "manifest"),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused(tmp_path: Path, manifest: str, told: str) -> None:
    directory = build_generator(tmp_path / "model")
    (directory / "manifest.json").write_text(manifest)
    with pytest.raises(ArtifactError, match=told):
        genai_generator.GenaiGenerator(directory, threads=1)


async def test_a_penalty_on_repetition_reaches_the_engine(directory: Path) -> None:
    engine = genai_generator.GenaiGenerator(directory, threads=1)
    assert (await written(engine, request(repetition_penalty=1.1)))[0] == SPOKEN
    drowned, _ = await written(engine, request(SPOKEN, temperature=0.7, seed=3, repetition_penalty=1e9))
    assert drowned != SPOKEN
    await engine.aclose()
