"""Which engines get notes: vLLM by the name of what it serves, the embedded one by its manifest; and how vLLM weighs their drafts."""

from __future__ import annotations

import runpy
from pathlib import Path

import httpx2
import pytest
from empathetic_server import Settings, drafts
from empathetic_server.engines.vllm_generator import NOTE_READER

from tests.conftest import ROOT
from tests.scripted_openai import answers, refuses, scripted_openai
from tests.server.chatting import running
from tests.server.test_note_replies import CHEERFUL, CONCERN, GOOD, ROUNDS, SAD, Feelings, metric, say

pytestmark = pytest.mark.anyio


async def test_a_model_that_vllm_serves_as_the_note_reader_gets_notes_from_the_first_message_on() -> None:
    async with scripted_openai(answers(*CHEERFUL[0].split()), answers(GOOD)) as server:
        server.model |= {"id": NOTE_READER, "max_model_len": 4096}
        server.log_probability = lambda _: 0.0
        settings = Settings(port=0, page=False, sessions="memory://", generator="vllm", vllm_url=server.url)
        async with running(classifier=Feelings(), generators=None, settings=settings) as at:
            concern = await say(at, CONCERN)
            asked_of_concern = list(server.asked)
            answer = await say(at, SAD)
    assert (concern["finish_reason"], asked_of_concern) == ("fallback", [])
    assert answer["reply"] == GOOD
    assert len(server.asked) == 4 * ROUNDS
    for body in server.asked:
        assert body["messages"] == [{"role": "system", "content": "sadness | reflect | initial"}, {"role": "user", "content": SAD}]
        assert body["repetition_penalty"] == 1.1


async def test_vllm_weighs_each_draft_after_this_message_and_after_one_that_says_nothing() -> None:
    probable = {"I'm sorry to hear that.": (-1.0, -1.0), GOOD: (-1.0, -4.0), "Did the wind take it, then?": (-5.0, -6.0)}
    weights = {reply: {True: this, False: other} for reply, (this, other) in probable.items()}
    async with scripted_openai(*(answers(reply) for reply in probable)) as server:
        server.scripts = list(server.scripts) * drafts._DRAFTS
        server.log_probability = lambda spoken: weights[spoken[-1]["content"]][spoken[-2]["content"] == SAD]
        server.model |= {"id": NOTE_READER, "max_model_len": 4096}
        settings = Settings(port=0, page=False, sessions="memory://", generator="vllm", vllm_url=server.url)
        async with running(classifier=Feelings(), generators=None, settings=settings) as at:
            answer = await say(at, SAD)
    assert answer["reply"] == GOOD
    assert [len(body["messages"]) for body in server.weighed] == [3] * 6
    assert all(body["add_generation_prompt"] is False for body in server.weighed)


async def test_a_vllm_that_comes_back_with_another_model_gets_that_models_prompts() -> None:
    async with scripted_openai(answers(GOOD)) as server:
        server.model |= {"id": NOTE_READER, "max_model_len": 4096}
        server.log_probability = lambda _: 0.0
        settings = Settings(port=0, page=False, sessions="memory://", generator="vllm", vllm_url=server.url)
        async with running(classifier=Feelings(), generators=None, settings=settings) as at:
            await say(at, SAD)
            server.model["id"] = "another"
            server.scripts = [*[answers(GOOD)] * 4 * ROUNDS, *[refuses(404)] * 4 * ROUNDS, answers("So it ", "is torn.")]
            answer = await say(at, SAD)
    assert answer["reply"] == "So it is torn."
    assert len(server.asked[-1]["messages"][0]["content"]) > 500  # instructions
    assert "repetition_penalty" not in server.asked[-1]


def test_make_vllm_names_a_model_by_what_its_manifest_says_that_it_reads(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "deploy" / "run_vllm.py"), run_name="run_vllm")
    directory = tmp_path / "responder" / "hf"
    directory.mkdir(parents=True)
    assert script["_name"](directory) == "responder"
    (directory / "manifest.json").write_text('{"prompt": "note-1"}')
    assert script["_name"](directory) == NOTE_READER
    (directory / "manifest.json").write_text('{"prompt": "note-9"}')
    with pytest.raises(SystemExit, match="note-9"):
        script["_name"](directory)


async def test_an_embedded_model_with_a_manifest_gets_notes(tmp_path: Path) -> None:
    pytest.importorskip("empathetic_server.engines.genai_generator", reason="onnxruntime-genai has no wheel for this Python")
    from tests.tiny_generator import SPOKEN as TINY  # noqa: PLC0415  # after the skip
    from tests.tiny_generator import build_generator  # noqa: PLC0415

    directory = build_generator(tmp_path / "model")
    (directory / "manifest.json").write_text('{"prompt": "note-1"}')
    settings = Settings(port=0, page=False, sessions="memory://", generator="embedded", responder=directory)
    async with running(classifier=Feelings(), generators=None, settings=settings) as at:
        answer = await say(at, SAD)
        replies = await metric(at, "empathetic_generator_replies_total")
        async with httpx2.AsyncClient(base_url=at.address) as other:
            concern = (await other.post("/v1/chat", json={"message": CONCERN})).json()
    assert (answer["reply"], answer["finish_reason"]) == (TINY, "stop")
    assert replies == {'generator="embedded",outcome="done"': 4.0 * ROUNDS}
    assert concern["finish_reason"] == "fallback"
