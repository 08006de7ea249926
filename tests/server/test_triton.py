"""The classifier behind a real `tritonserver`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc
import tritonclient.http
from empathetic_export import triton_repository
from empathetic_server import Settings
from empathetic_server.emotions import read_emotions
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.engines.triton_classifier import TritonClassifier
from empathetic_server.errors import ArtifactError, BackendUnavailable, DeadlineExceeded, InternalError, Overloaded
from empathetic_server.metrics import Metrics
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from tests.server.chatting import running
from tests.server.conftest import engine_arguments
from tests.server.test_serve import refused
from tests.server.tiny_artifact import LABELS, MAX_LENGTH, WORDS
from tests.tritons import Triton, free_ports, launched, one_loop, tiny_repository, tritonserver  # noqa: F401  # a fixture

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
RECOVERY_SECONDS = 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repository(tmp_path_factory.mktemp("triton"))


@pytest.fixture(scope="module")
def triton(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    with tritonserver(tiny, tmp_path_factory.mktemp("log") / "triton.log") as started:
        yield started


@asynccontextmanager
async def engine(repository: Path, *addresses: str, max_queued_texts: int = 10_000) -> AsyncIterator[TritonClassifier]:
    built = TritonClassifier(read_manifest(repository), addresses=addresses, max_queued_texts=max_queued_texts, metrics=Metrics())
    try:
        await built.open()
        yield built
    finally:
        await built.aclose()


async def ask(classifier: Any, *texts: str, **changes: Any) -> Any:
    return await classifier.classify(texts, **{"priority": "bulk", "timeout_s": 30, **changes})


async def until(condition: Callable[[], bool], seconds: float = 20) -> float:
    """Wait for a condition and return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def random_texts(count: int, seed: int = 1) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=length)) for length in generator.integers(1, 40, size=count)]


def load(triton: Triton) -> None:
    """Let Triton read the classifier again."""
    with tritonclient.grpc.InferenceServerClient(triton.grpc) as client:
        client.load_model("emotion_classifier")


# --- scores


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


async def test_requests_of_one_length_are_computed_together(tiny: Path, triton: Triton) -> None:
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
        found = await asyncio.gather(*(ask(classifier, *WORDS[:4]) for _ in range(4)), return_exceptions=True)
        refused_ones = [answer for answer in found if isinstance(answer, Overloaded)]
        assert len(refused_ones) == 2
        assert refused_ones[0].retry_after_s == 1
        await ask(classifier, *WORDS[:10])


async def test_a_late_answer_is_an_error(tiny: Path, triton: Triton) -> None:
    async with engine(tiny, triton.grpc) as classifier:
        with pytest.raises(DeadlineExceeded):
            await ask(classifier, *random_texts(2000), timeout_s=0.02)
        assert classifier.ready()


async def test_what_a_client_leaves_is_dropped_in_triton(tiny: Path, triton: Triton) -> None:
    before = triton.counts("nv_inference_request_failure", model="emotion_classifier", reason="CANCELED")
    async with engine(tiny, triton.grpc, max_queued_texts=100_000) as classifier:
        for _ in range(5):
            leaving = asyncio.create_task(ask(classifier, *random_texts(20_000)))
            await until(lambda: sum(address.running for address in classifier._addresses) > 100)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        await ask(classifier, WORDS[0])
    assert triton.counts("nv_inference_request_failure", model="emotion_classifier", reason="CANCELED") > before


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


# --- faults


async def test_a_killed_triton_is_replaced_by_the_other_without_a_failed_request(tiny: Path, triton: Triton, tmp_path: Path) -> None:
    with tritonserver(tiny, tmp_path / "log") as doomed:
        async with engine(tiny, doomed.grpc, triton.grpc) as classifier:
            asking = [asyncio.create_task(ask(classifier, *random_texts(64, seed))) for seed in range(40)]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            doomed.kill()
            found = await asyncio.gather(*asking)
            assert all(answer.probabilities.shape == (64, len(LABELS)) for answer in found)
            assert classifier.ready()


async def test_a_killed_triton_is_an_error_until_it_is_back(tiny: Path, tmp_path: Path) -> None:
    ports = free_ports(3)
    with tritonserver(tiny, tmp_path / "log", ports=ports) as doomed:
        async with engine(tiny, doomed.grpc) as classifier:
            asking = [asyncio.create_task(ask(classifier, *random_texts(64, seed))) for seed in range(20)]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            doomed.kill()
            found = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(answer) for answer in found if isinstance(answer, Exception)} <= {BackendUnavailable}
            await until(lambda: not classifier.ready())
            with pytest.raises(BackendUnavailable) as failure:
                await ask(classifier, WORDS[0])
            assert failure.value.retry_after_s == 1
            with tritonserver(tiny, tmp_path / "log", ports=ports):
                assert await until(classifier.ready) < RECOVERY_SECONDS
                await ask(classifier, WORDS[0])


async def test_a_triton_that_hangs_is_left_and_used_again_when_it_goes_on(tiny: Path, tmp_path: Path) -> None:
    with tritonserver(tiny, tmp_path / "log") as hanging:
        async with engine(tiny, hanging.grpc) as classifier:
            await ask(classifier, WORDS[0])
            hanging.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(BackendUnavailable):
                await ask(classifier, WORDS[0], timeout_s=60)
            assert time.monotonic() - started < 15
            assert not classifier.ready()
            hanging.send_signal(signal.SIGCONT)
            assert await until(classifier.ready) < RECOVERY_SECONDS
            await ask(classifier, WORDS[0])


async def test_a_server_is_up_before_its_triton_and_says_so(tiny: Path, tmp_path: Path) -> None:
    ports = free_ports(3)
    settings = Settings(port=0, page=False, sessions="memory://", classifier="triton", triton_urls=(f"127.0.0.1:{ports[1]}",))
    async with running(settings=settings.model_copy(update={"model_repository": tiny}), classifier=None) as at:
        degraded = (await at.http.get("/readyz")).json()
        refusal = await at.http.post("/v1/emotions", json={"input": "w1"})
        chat = (await at.http.post("/v1/chat", json={"message": "w1"})).json()
        assert (degraded["status"], degraded["engines"]["classifier"]) == ("degraded", {"name": "triton", "ready": False})
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "backend_unavailable")
        assert int(refusal.headers["retry-after"]) >= 1
        assert (chat["emotion"], bool(chat["reply"])) == (None, True)
        with tritonserver(tiny, tmp_path / "log", ports=ports) as triton:
            started = time.monotonic()
            while (await at.http.get("/readyz")).json()["status"] != "ready":
                assert time.monotonic() - started < RECOVERY_SECONDS
                await asyncio.sleep(0.1)
            answer = await at.http.post("/v1/emotions", json={"input": "w1"})
            metrics = (await at.http.get("/metrics")).text
        assert answer.status_code == 200
        assert f'empathetic_triton_ready{{address="{triton.grpc}"}} 1.0' in metrics


async def test_another_model_is_refused_at_the_start_and_left_later(tiny: Path, root: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny, tmp_path / "other")
    model = onnx.load(other / "emotion_classifier" / "1" / "model.onnx")
    model.doc_string = "other bytes"
    with tritonserver(other, tmp_path / "log") as triton:
        async with engine(tiny, triton.grpc) as classifier:
            onnx.save(model, other / "emotion_classifier" / "1" / "model.onnx")
            rewrite(other)
            load(triton)
            await until(lambda: not classifier.ready())
            with pytest.raises(BackendUnavailable):
                await ask(classifier, WORDS[0])
        with pytest.raises(ArtifactError, match="another model"):
            async with engine(tiny, triton.grpc):
                pass
        environment = {"EMPATHETIC_CLASSIFIER": "triton", "EMPATHETIC_TRITON_URLS": triton.grpc, "EMPATHETIC_MODEL_REPOSITORY": str(tiny)}
        process, stderr = await asyncio.to_thread(refused, root, **environment)
    assert process.returncode == 2
    assert "another model" in stderr


def rewrite(repository: Path) -> None:
    """Write Triton's files again, after a change of the versions."""
    directory = repository / "emotion_classifier"
    triton_repository.write_classifier(directory, labels=len(LABELS), hidden_size=16, max_length=MAX_LENGTH, tensorrt=False)


async def test_a_new_version_is_loaded_beside_the_old_one_without_a_failed_request(tiny: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(tiny, tmp_path / "repository")
    directory = repository / "emotion_classifier"
    with tritonserver(repository, tmp_path / "log") as triton:
        async with engine(tiny, triton.grpc) as old:
            stop = asyncio.Event()

            async def keep_asking() -> int:
                count = 0
                while not stop.is_set():
                    await ask(old, *WORDS[:3])
                    count += 1
                return count

            asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
            model = onnx.load(directory / "1" / "model.onnx")
            model.doc_string = "a better one"
            (directory / "2").mkdir()
            onnx.save(model, directory / "2" / "model.onnx")
            rewrite(repository)
            manifest = json.loads((directory / "manifest.json").read_text())
            manifest["version"] = 2
            manifest["files"]["2/model.onnx"] = triton_repository.file_sha256(directory / "2" / "model.onnx")
            (directory / "manifest.json").write_text(json.dumps(manifest))
            await asyncio.to_thread(load, triton)
            async with engine(repository, triton.grpc) as new:
                await ask(new, *WORDS[:3])
                assert old.ready()
            stop.set()
            assert min(await asyncio.gather(*asking)) > 0


def test_a_taken_port_ends_triton_with_its_reason(tiny: Path, tmp_path: Path) -> None:
    http, grpc, metrics = free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", grpc))
        taken.listen()
        with launched(tiny, tmp_path / "log", ports=[http, grpc, metrics]) as triton:
            assert triton.process.wait(60) != 0
    assert str(grpc) in (tmp_path / "log").read_text()


def test_sigterm_ends_triton_cleanly(tiny: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(tiny, tmp_path / "repository")
    with tritonserver(repository, tmp_path / "log") as triton:
        triton.process.terminate()
        assert triton.process.wait(30) == 0
        assert remaining(repository) == []


@pytest.mark.parametrize("victim", ["tritonserver", "launcher"])
async def test_a_kill_in_the_middle_of_work_leaves_no_process_behind(tiny: Path, tmp_path: Path, victim: str) -> None:
    repository = shutil.copytree(tiny, tmp_path / "repository")
    with tritonserver(repository, tmp_path / "log") as triton:
        assert len(remaining(repository)) == 1 + len(("emotion_classifier", "emotion_text"))
        async with engine(repository, triton.grpc, max_queued_texts=100_000) as classifier:
            asking = asyncio.create_task(ask(classifier, *random_texts(20_000)))
            await until(lambda: classifier._addresses[0].running > 100)
            if victim == "launcher":
                triton.process.kill()
            else:
                triton.kill()
            await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: remaining(repository) == [], 30)


def remaining(repository: Path) -> list[str]:
    """Return the commands of the processes that work on a repository, the launcher excepted."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(repository) in command and "run_triton" not in command:
                commands.append(command)
    return commands


# --- what is committed


def test_the_committed_repository_is_what_the_export_writes(root: Path, tmp_path: Path) -> None:
    committed = root / "model_repository"
    copy = tmp_path / "copy"
    shutil.copytree(committed / "emotion_classifier", copy / "emotion_classifier")
    manifest = read_manifest(committed)
    triton_repository.write_classifier(
        copy / "emotion_classifier",
        labels=len(manifest.labels),
        hidden_size=manifest.hidden_size,
        max_length=manifest.max_length,
        tensorrt=False,
    )
    triton_repository.write_text_model(copy, labels=len(manifest.labels))
    assert contents(copy) == contents(committed)
    for path in copy.rglob("*.pbtxt"):
        text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def contents(repository: Path) -> dict[str, str]:
    """Return the digest of every file but the page for people and what Python compiles."""
    files = [path for path in repository.rglob("*") if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts]
    return {str(path.relative_to(repository)): triton_repository.file_sha256(path) for path in files}
