"""A real `tritonserver` that dies, hangs, starts late, and loads another model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import time
from pathlib import Path

import onnx
import pytest
from empathetic_export import triton_repository
from empathetic_server import Settings
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.errors import ArtifactError, BackendUnavailable
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.server.chatting import running
from tests.server.test_serve import refused
from tests.server.tiny_artifact import LABELS, MAX_LENGTH, WORDS
from tests.tritons import (
    Triton,
    ask,
    engine,
    free_ports,
    launched,
    load,
    one_loop,  # noqa: F401  # a fixture
    random_texts,
    tritonserver,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
RECOVERY_SECONDS = 5


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
            await until(lambda: classifier._addresses[0].running > 0)
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


@pytest.mark.parametrize("name", ["model_repository", "models/fast"])
def test_the_committed_repositories_are_what_the_export_writes(root: Path, tmp_path: Path, name: str) -> None:
    committed = root / name
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
