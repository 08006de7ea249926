"""The command as a user runs it, in processes of its own: whole runs, killed runs, several processes, no network, no room."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from empathetic_train.__main__ import main

RECIPE = Path(__file__).parents[2] / "train" / "recipes" / "tiny.toml"
Process = subprocess.CompletedProcess[str]


def call(arguments: list[str], environment: dict[str, str], directory: Path) -> Process:
    return subprocess.run(arguments, cwd=directory, env=environment, text=True, capture_output=True, timeout=200, check=False)


@pytest.fixture
def arguments(bert: Path, data_dir: Path) -> list[str]:
    return ["--recipe", str(RECIPE), "--model-name", str(bert), "--data", str(data_dir)]


def complaint(process: Process) -> str:
    """Return the line that a failed process ended with, and check that there is no traceback."""
    assert "Traceback" not in process.stderr
    last = process.stderr.rstrip().splitlines()[-1]
    assert last.startswith("empathetic-train: error: ")
    return last


def test_the_tiny_recipe_runs_and_prints_its_results(
    command: list[str], arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    process = call([*command, *arguments], environment, tmp_path)
    assert process.returncode == 0, process.stderr
    assert "Warning" not in process.stderr
    assert (tmp_path / "checkpoints" / "classifier" / "training.json").is_file()
    (results,) = (tmp_path / "results").iterdir()
    assert (results / "summary.txt").read_text() in process.stdout
    viewed = call([*command, "--view-results", str(results)], environment, tmp_path)
    assert viewed.stdout in process.stdout
    assert "-- worst" in viewed.stdout


def test_a_killed_run_looks_unfinished_and_is_resumed_as_if_nothing_had_happened(
    command: list[str], arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    whole = [*command, *arguments, "--epochs", "10", "--patience", "10", "--checkpoint-dir", "c", "--results-dir", "r"]
    with subprocess.Popen(whole, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("c/run/checkpoint-*/trainer_state.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["run"]
    assert not (tmp_path / "r").exists()

    resumed = call(whole, environment, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from" in resumed.stderr
    training = json.loads((tmp_path / "c" / "training.json").read_text())
    epochs = [entry["epoch"] for entry in training["history"] if "eval_loss" in entry]
    assert epochs == list(range(1, 11))

    places = ["--checkpoint-dir", str(tmp_path / "d"), "--results-dir", str(tmp_path / "r")]
    main(["classifier", *arguments, "--epochs", "10", "--patience", "10", *places])
    assert (tmp_path / "c" / "model.safetensors").read_bytes() == (tmp_path / "d" / "model.safetensors").read_bytes()


def test_only_the_main_process_writes(arguments: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    cpu = environment | {"ACCELERATE_USE_CPU": "true"}  # what `accelerate launch --cpu` sets
    process = call([*launcher, "-m", "empathetic_train", "classifier", *arguments], cpu, tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(list((tmp_path / "results").iterdir())) == 1
    training: dict[str, Any] = json.loads((tmp_path / "checkpoints" / "classifier" / "training.json").read_text())
    assert training["device"].startswith("2 x ")
    assert process.stdout.count("results in ") == 1


def test_without_network_one_line_says_what_to_do(command: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    process = call(command, environment, tmp_path)
    assert process.returncode == 2
    assert "cannot load go_emotions from the Hub" in complaint(process)
    assert "--data DIR" in complaint(process)
    assert list(tmp_path.iterdir()) == []


def test_without_room_one_line_says_so_and_nothing_looks_finished(
    command: list[str], arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    limited = ["sh", "-c", 'ulimit -f 64 && exec "$@"', "sh", *command, *arguments]  # files of at most 32 KiB stand for a full disk
    process = call(limited, environment, tmp_path)
    assert process.returncode == 1
    assert "the disk is full" in complaint(process)
    assert not list(tmp_path.rglob("training.json"))
