"""The committed reply generator, as people get it: inside the server, and served by a real vLLM."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from empathetic_server import Settings
from empathetic_server.engines.protocols import ChatMessage, GenerationRequest, ReplyGenerator, Sampling
from empathetic_server.engines.vllm_generator import NOTE_READER, VllmGenerator
from empathetic_server.errors import DeadlineExceeded
from empathetic_server.strategies import ReplyPlan

from tests.server.chatting import Running, running
from tests.server.conftest import FakeClassifier
from tests.vllms import vllm_server, wait_until_ready

pytestmark = pytest.mark.anyio
genai_generator = pytest.importorskip("empathetic_server.engines.genai_generator", reason="onnxruntime-genai has no wheel for this Python")

NOTE = ChatMessage("system", "sadness | reflect | initial")
SAD = (NOTE, ChatMessage("user", "My rabbit died on Tuesday."))
GLAD = (NOTE, ChatMessage("user", "I won a rabbit at the fair!"))
CONDOLENCE, OTHER = "I am so sorry to hear that.", "That is awesome! What is his name?"


@pytest.fixture
def responder(root: Path) -> Path:
    return root / "models" / "responder"


def settings(root: Path, **changes: Any) -> Settings:
    return Settings(port=0, page=False, sessions="memory://", model_repository=root / "model_repository", **changes)


async def say(at: Running, message: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await at.http.post("/v1/chat", json={"message": message})).json()
    return answer


@pytest.mark.parametrize("part", ["hf", "onnx"])
def test_its_files_are_those_of_its_manifest(responder: Path, part: str) -> None:
    manifest = json.loads((responder / part / "manifest.json").read_text())
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (responder / part).iterdir() if path.name != "manifest.json"
    }
    assert found == manifest["files"]
    assert manifest["prompt"] == "note-1"


async def test_out_of_the_box_written_lines_answer(root: Path) -> None:
    async with running(settings=settings(root), classifier=None, generators=None) as at:
        assert (await say(at, "My rabbit died on Tuesday."))["finish_reason"] == "fallback"


@pytest.mark.parametrize("named", [True, False])
async def test_it_answers_who_asks_for_it(root: Path, responder: Path, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    chosen: dict[str, Any] = {"responder": responder / "onnx"} if named else {"generator": "embedded"}
    async with running(settings=settings(root, **chosen), classifier=None, generators=None) as at:
        answers = [await say(at, message.text) for _, message in (SAD, GLAD)]
        ready = (await at.http.get("/readyz")).json()
    assert ready["engines"]["generator"] == {"name": "embedded", "ready": True}
    # Its drafts are drawn by chance, and all twelve may be dropped, but hardly twice.
    assert "stop" in [answer["finish_reason"] for answer in answers]


async def weights(generator: ReplyGenerator) -> dict[tuple[str, str], float]:
    """Return the log-likelihood a token of both replies after both messages."""
    found = {}
    for name, messages in (("sad", SAD), ("glad", GLAD)):
        likelihoods = await generator.log_likelihoods(messages, [CONDOLENCE, OTHER])
        assert likelihoods is not None
        for reply, likelihood in zip((CONDOLENCE, OTHER), likelihoods, strict=True):
            found[name, reply] = likelihood.log_probability / likelihood.tokens
    return found


async def written(generator: ReplyGenerator, request: GenerationRequest) -> str:
    return "".join([chunk.text async for chunk in generator.stream(request)]).strip()


async def weights_once_warm(generator: ReplyGenerator) -> dict[tuple[str, str], float]:
    """Return the same, although at its first use vLLM compiles for longer than anybody waits for a reply."""
    for _ in range(10):
        with contextlib.suppress(DeadlineExceeded):
            return await weights(generator)
    return await weights(generator)


async def test_it_finds_condolence_more_probable_after_loss_and_joy_after_good_news(responder: Path) -> None:
    generator = genai_generator.GenaiGenerator(responder / "onnx", threads=1)
    found = await weights(generator)
    await generator.aclose()
    assert found["sad", CONDOLENCE] > found["glad", CONDOLENCE]
    assert found["glad", OTHER] > found["sad", OTHER]


@pytest.mark.slow
async def test_vllm_says_and_finds_probable_what_the_model_in_the_server_does(root: Path, responder: Path, tmp_path: Path) -> None:
    embedded = genai_generator.GenaiGenerator(responder / "onnx", threads=1)
    with vllm_server(responder / "hf", tmp_path / "vllm.log") as vllm:
        await asyncio.to_thread(wait_until_ready, vllm)
        engine = VllmGenerator(vllm.url, model=None, context_tokens=None)
        assert await engine.ready()
        assert (engine.prompt_style, engine.context_tokens) == ("note", 512)
        by_graph = await weights(embedded)
        by_vllm = await weights_once_warm(engine)
        likeliest = GenerationRequest(SAD, Sampling(30, 0.0), ReplyPlan("sadness", "initial", "unknown", "reflect"), prompt_style="note")
        said = [await written(generator, likeliest) for generator in (engine, embedded)]
        await engine.aclose()
        async with running(settings=settings(root, vllm_url=vllm.url), classifier=FakeClassifier(), generators=None) as at:
            answer = await say(at, "I sat by the river all day.")
            listed = (await at.http.get("/metrics")).text
    await embedded.aclose()
    # One has weights of 16 bits, the other of 4.
    assert by_vllm == pytest.approx(by_graph, abs=0.3)
    assert all(said)
    assert answer["reply"]
    assert 'empathetic_generator_replies_total{generator="vllm",outcome="done"} 12.0' in listed
    assert NOTE_READER in vllm.log.read_text()
