"""The wheel that users install: built, unpacked elsewhere, and run outside the clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(root)]
    subprocess.run(build, check=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_the_four_packages_and_nothing_else(site: Path) -> None:
    packages = {path.name for path in site.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}
    assert packages == {"empathetic_train", "empathetic_export", "empathetic_server", "empathetic_bench"}


def test_its_commands_are_declared(site: Path) -> None:
    [entry_points] = site.glob("*.dist-info/entry_points.txt")
    names = {line.split(" = ")[0] for line in entry_points.read_text().splitlines() if " = " in line}
    assert names == {f"empathetic-{name}" for name in ("train", "export", "serve", "classify", "chat", "key", "ui", "bench")}


def test_the_installed_classifier_reads_the_committed_model(site: Path, root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "EMPATHETIC_MODEL_REPOSITORY": str(root / "model_repository")}
    command = [sys.executable, "-m", "empathetic_server.classify", "Thank you so much!"]
    output = subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path, timeout=60).stdout
    assert json.loads(output)["primary"] == "gratitude"
