"""The classifier behind a real `tritonserver`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from empathetic_server import Settings
from empathetic_server.emotions import read_emotions
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.engines.protocols import Priority
from empathetic_server.errors import DeadlineExceeded, InternalError, Overloaded
from tritonclient.utils import InferenceServerException

from tests.server.chatting import running
from tests.server.conftest import engine_arguments
from tests.server.tiny_artifact import LABELS, MAX_LENGTH, WORDS
from tests.tritons import (
    Triton,
    ask,
    engine,
    one_loop,  # noqa: F401  # a fixture
    random_texts,
    tritonserver,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
AT_ONCE = 2  # batches at a Triton with one instance of the model: one is computed, one is on its way


async def test_scores_equal_the_embedded_engines_in_any_company(tiny: Path, triton: Triton) -> None:
    texts = [*random_texts(200), " ".join(WORDS), "nothing known", "x" * 200_000]
    embedded = EmbeddedClassifier(**engine_arguments(tiny, max_queued_texts=1000))
    expected = await ask(embedded, *texts)
    await embedded.aclose()
    async with engine(tiny, triton.grpc) as classifier:
        together = await ask(classifier, *texts)
        alone = await asyncio.gather(*(ask(classifier, text, priority="interactive") for text in texts))
    np.testing.assert_allclose(together.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(together.embeddings, expected.embeddings, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([found.probabilities for found in alone]), expected.probabilities, atol=1e-5)
    assert (together.tokens, together.truncated) == (expected.tokens, expected.truncated)
    assert max(together.tokens) == MAX_LENGTH


async def test_the_committed_model_scores_real_texts_as_the_embedded_engine_does(root: Path, data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / "goemotions" / "test.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[:1000]]
    repository = root / "model_repository"
    embedded = EmbeddedClassifier(**engine_arguments(repository, threads=2, max_queued_texts=1000))
    expected = (await ask(embedded, *texts, timeout_s=120)).probabilities
    await embedded.aclose()
    with tritonserver(repository, tmp_path / "log") as triton:
        async with engine(repository, triton.grpc) as classifier:
            together = (await ask(classifier, *texts, timeout_s=120)).probabilities
            shuffled = np.random.default_rng(0).permutation(len(texts))
            parts = [[int(index) for index in part] for part in np.array_split(shuffled, 80)]
            found = await asyncio.gather(*(ask(classifier, *(texts[index] for index in part), timeout_s=120) for part in parts))
    np.testing.assert_allclose(together, expected, atol=1e-4)
    for part, scores in zip(parts, found, strict=True):
        np.testing.assert_allclose(scores.probabilities, expected[part], atol=1e-4)


async def test_texts_of_many_requests_are_computed_together(tiny: Path, triton: Triton) -> None:
    counts = [triton.counts(name, model="emotion_classifier") for name in ("nv_inference_count", "nv_inference_exec_count")]
    async with engine(tiny, triton.grpc) as classifier:
        await asyncio.gather(*(ask(classifier, word) for word in WORDS))
    rows, batches = (
        triton.counts(name, model="emotion_classifier") - before
        for name, before in zip(("nv_inference_count", "nv_inference_exec_count"), counts, strict=True)
    )
    assert rows == len(WORDS)
    assert batches < rows / 2


@pytest.mark.parametrize("bad", ["poison", "crash"], ids=["a-text-without-finite-scores", "a-text-that-the-runtime-refuses"])
async def test_one_bad_text_fails_alone(tiny: Path, triton: Triton, bad: str) -> None:
    async with engine(tiny, triton.grpc) as classifier:
        found = await asyncio.gather(*(ask(classifier, text) for text in (*WORDS[:20], bad, *WORDS[20:40])), return_exceptions=True)
        with pytest.raises(InternalError, match=r"input\[2\]"):
            await ask(classifier, WORDS[0], WORDS[1], bad, WORDS[2])
    assert [index for index, answer in enumerate(found) if isinstance(answer, Exception)] == [20]
    assert isinstance(found[20], InternalError)
    assert bad not in triton.log.read_text()


# --- limits


async def test_too_many_waiting_texts_are_refused(tiny: Path, triton: Triton) -> None:
    async with engine(tiny, triton.grpc, max_queued_texts=10) as classifier:
        room = AT_ONCE + len(("one that waits", "another that waits"))
        found = await asyncio.gather(*(ask(classifier, *WORDS[:4]) for _ in range(room + 2)), return_exceptions=True)
        refused_ones = [answer for answer in found if isinstance(answer, Overloaded)]
        assert len(refused_ones) == 2
        assert refused_ones[0].retry_after_s >= 1
        await ask(classifier, *WORDS[:10])


async def test_a_person_goes_before_bulk_that_came_earlier(tiny: Path, triton: Triton) -> None:
    ended: list[str] = []

    async def note_end(name: str, *texts: str, priority: Priority) -> None:
        await ask(classifier, *texts, priority=priority)
        ended.append(name)

    async with engine(tiny, triton.grpc) as classifier:
        bulk = asyncio.create_task(note_end("bulk", *random_texts(2000), priority="bulk"))
        await until(lambda: classifier._addresses[0].running == AT_ONCE)
        await note_end("person", WORDS[0], priority="interactive")
        await bulk
    assert ended == ["person", "bulk"]


async def test_a_late_answer_is_an_error(tiny: Path, triton: Triton) -> None:
    async with engine(tiny, triton.grpc) as classifier:
        with pytest.raises(DeadlineExceeded):
            await ask(classifier, *random_texts(2000), timeout_s=0.02)
        assert classifier.ready()


async def test_what_a_client_leaves_is_not_sent_to_triton(tiny: Path, triton: Triton) -> None:
    before = triton.counts("nv_inference_count", model="emotion_classifier")
    async with engine(tiny, triton.grpc, max_queued_texts=100_000) as classifier:
        leaving = asyncio.create_task(ask(classifier, *random_texts(20_000)))
        await until(lambda: classifier._addresses[0].running == AT_ONCE)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await ask(classifier, WORDS[0])
        await until(lambda: classifier._addresses[0].running == 0)
    assert triton.counts("nv_inference_count", model="emotion_classifier") - before < 20_000 / 2


async def test_a_requests_id_is_in_tritons_log_and_its_text_is_not(tiny: Path, tmp_path: Path) -> None:
    settings = Settings(port=0, page=False, sessions="memory://", classifier="triton", model_repository=tiny)
    with tritonserver(tiny, tmp_path / "log", flags=["--log-verbose=1"]) as triton:
        settings = settings.model_copy(update={"triton_urls": (triton.grpc,)})
        async with running(settings=settings, classifier=None) as at:
            answer = await at.http.post("/v1/emotions", json={"input": "w1 w2"}, headers={"x-request-id": "followed-through"})
            chat = await at.http.post("/v1/chat", json={"message": "w3"}, headers={"x-request-id": "followed-in-chat"})
    assert (answer.status_code, chat.json()["emotion"] is not None) == (200, True)
    log = triton.log.read_text()
    assert "followed-through" in log
    assert "followed-in-chat" in log
    assert "w1 w2" not in log


# --- the text model


def test_text_goes_in_and_emotions_come_out_over_grpc_and_http(tiny: Path, triton: Triton) -> None:
    texts = ["w1 w2", " ".join(WORDS), "w3", "w7 💔 w8"]
    rows = np.array([[text.encode()] for text in texts], np.object_)
    answers = []
    for library, address in ((tritonclient.grpc, triton.grpc), (tritonclient.http, triton.http)):
        client = library.InferenceServerClient(address)
        tensor = library.InferInput("text", rows.shape, "BYTES")
        tensor.set_data_from_numpy(rows)
        answer = client.infer("emotion_text", [tensor])
        answers.append((answer.as_numpy("probabilities"), answer.as_numpy("labels")))
        client.close()
    expected = asyncio.run(embedded_scores(tiny, texts))
    thresholds = read_manifest(tiny).thresholds
    for probabilities, labels in answers:
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        for row, named in zip(expected, labels.reshape(-1), strict=True):
            found = read_emotions(row, LABELS, thresholds)
            assert named.decode().split(",") == [emotion["label"] for emotion in found.as_dict()["emotions"]]


def test_the_client_example_prints_what_it_reads_over_grpc_and_http(root: Path, triton: Triton) -> None:
    command = [sys.executable, root / "examples" / "triton_client.py", "w1 w2", triton.grpc, triton.http]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert [line.split(": ")[0] for line in printed] == [triton.grpc, triton.http]
    assert len({line.split(": ")[1] for line in printed}) == 1
    assert all(set(line.split(": ")[1].split(" (")[0].split(",")) <= set(LABELS) for line in printed)


async def embedded_scores(repository: Path, texts: list[str]) -> Any:
    embedded = EmbeddedClassifier(**engine_arguments(repository))
    scores = (await ask(embedded, *texts)).probabilities
    await embedded.aclose()
    return scores


@pytest.mark.parametrize(("text", "reason"), [(b"\xff", "text[1] is not UTF-8"), (b"  ", "text[1] is blank")])
def test_a_bad_text_is_refused_and_named_by_its_row(triton: Triton, text: bytes, reason: str) -> None:
    client = tritonclient.grpc.InferenceServerClient(triton.grpc)
    rows = np.array([[b"w1"], [text]], np.object_)
    tensor = tritonclient.grpc.InferInput("text", rows.shape, "BYTES")
    tensor.set_data_from_numpy(rows)
    with pytest.raises(InferenceServerException) as failure:
        client.infer("emotion_text", [tensor])
    client.close()
    assert reason in failure.value.message()
    assert "INVALID_ARGUMENT" in failure.value.status()
