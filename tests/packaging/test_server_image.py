"""The Dockerfile's `server`, carried out and started as a container engine would: as its own user, read-only, with /data and /tmp."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.packaging.dockerfiles import Stage, read_stages
from tests.packaging.imaging import Container, Image, build, require_namespaces, running

pytestmark = pytest.mark.slow
USER = 10001
# Of the C library, the compiler's runtime and zlib, which Debian's own base and Python's image are built on.
SLIM = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"}
SLIM |= {"libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"}
FIXED = ("/", "/app", "/etc", "/opt/venv", "/root", "/usr/bin")
WRITABLE = ("/data", "/tmp")  # noqa: S108  # a folder inside


@pytest.fixture(scope="module")
def stage(root: Path) -> Stage:
    return read_stages(root / "Dockerfile")["server"]


@pytest.fixture(scope="module")
def image(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    require_namespaces()
    folder = tmp_path_factory.mktemp("image")
    yield build(root, read_stages(root / "Dockerfile"), "server", folder)
    shutil.rmtree(folder)  # more than a gigabyte


@pytest.fixture
def volume(image: Image, tmp_path: Path) -> Path:
    """A new volume of /data: as Docker makes it, with the owner and the mode that the image's folder has."""
    folder = tmp_path / "data"
    folder.mkdir()
    made = (image.root / "data").stat()
    os.chown(folder, made.st_uid, made.st_gid)
    folder.chmod(stat.S_IMODE(made.st_mode))
    return folder


@contextmanager
def serving(image: Image, stage: Stage, volume: Path) -> Iterator[Container]:
    with running(image, stage, volume) as container:
        assert container.process.stdout
        greeting = container.process.stdout.readline()
        seen = [greeting]
        while greeting and "listens on" not in greeting:
            greeting = container.process.stdout.readline()
            seen.append(greeting)
        assert greeting, "".join(seen)
        yield container


def test_it_answers_on_all_addresses_as_its_own_user_with_nothing_writable_but_data_and_tmp(
    image: Image, stage: Stage, volume: Path
) -> None:
    with serving(image, stage, volume) as container:
        status = Path(f"/proc/{container.first}/status").read_text()
        listening = container.execute(["cat", "/proc/net/tcp"]).stdout
        ready = container.request("GET", "/readyz")
        code, classified = container.request("POST", "/v1/emotions", {"input": "Thank you so much!"})
        page = container.execute(["python", "-c", "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/ui/').status)"])
        written = [place for place in FIXED + WRITABLE if container.execute(["touch", f"{place}/file"]).returncode == 0]
    assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status
    assert "CapEff:\t0000000000000000" in status
    assert "00000000:1F90" in listening
    assert (ready[0], ready[1]["status"]) == (200, "ready")
    assert (code, classified["data"][0]["primary"]) == (200, "gratitude")
    assert page.stdout.strip() == "200", page.stderr
    assert written == list(WRITABLE)


def test_the_health_check_passes_while_it_serves_and_fails_when_it_does_not(image: Image, stage: Stage, volume: Path) -> None:
    command = stage.health_check
    with serving(image, stage, volume) as container:
        healthy = container.execute(command)
        elsewhere = container.execute(["env", "EMPATHETIC_PORT=8081", *command])
    assert healthy.returncode == 0, healthy.stderr
    assert elsewhere.returncode != 0


def test_sigterm_reaches_process_1_and_conversations_survive_the_next_container(image: Image, stage: Stage, volume: Path) -> None:
    with serving(image, stage, volume) as container:
        _, reply = container.request("POST", "/v1/chat", {"message": "I feel so sad, my dog died"})
        started = time.monotonic()
        os.kill(container.first, signal.SIGTERM)
        assert container.process.wait(30) == 0
        assert time.monotonic() - started < 25  # nothing runs: it does not wait for the drain to end
    with serving(image, stage, volume) as container:
        code, session = container.request("GET", f"/v1/sessions/{reply['session_id']}")
    assert code == 200
    assert [message["role"] for message in session["messages"]] == ["user", "assistant"]


def test_what_only_building_needs_stays_behind(image: Image) -> None:
    venv = image.root / "opt" / "venv"
    installed = {path.name.split("-")[0].lower() for path in venv.glob("lib/python3*/site-packages/*.dist-info")}
    assert "empathetic_ai" in installed
    assert not installed & {"pip", "setuptools", "wheel", "hatchling", "pytest", "torch", "transformers"}
    assert not (image.root / "wheels").exists()
    assert not (image.root / "src").exists()
    assert not any((image.root / "root" / ".cache" / "pip").iterdir())


def test_its_libraries_need_nothing_that_a_slim_image_lacks(image: Image) -> None:
    libraries = [str(path) for path in (image.root / "opt" / "venv").rglob("*.so*") if not path.is_symlink()]
    command = ["ldd", *libraries]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    needed = {line.split()[0] for line in listed.splitlines() if "=> /lib/" in line or "not found" in line}
    assert needed <= SLIM


def test_its_user_owns_nothing_but_data(image: Image) -> None:
    owned = {path for path in image.root.rglob("*") if path.lstat().st_uid == USER}
    loose = {path for path in image.root.rglob("*") if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH}
    assert owned == {image.root / "data"}
    assert loose == {image.root / "tmp"}


def test_the_image_has_its_commands_and_knows_its_version(image: Image, stage: Stage, volume: Path) -> None:
    with serving(image, stage, volume) as container:
        key = container.execute(["empathetic-key"])
        described = container.request("GET", "/openapi.json")[1]
    assert key.returncode == 0, key.stderr
    assert described["info"]["version"] != "0+clone"
