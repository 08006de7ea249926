"""On a processor the paths are the same but for the device; what only CUDA has (graphs, its kernels) is not tested here."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from empathetic_bench.server_process import running_server
from empathetic_export import pipeline

from benchmarks.gpu import model
from benchmarks.gpu.conditions import Conditions
from benchmarks.gpu.measuring import TOLERANCES, operations, score_all
from benchmarks.gpu.paths import builders, reference_path
from tests.export.conftest import build_checkpoint
from tests.tiny_models import sentences, write_data

CONDITIONS = Conditions(torch.device("cpu"), 256, "aot_eager")
PATHS = ["eager-in-order", "eager-buckets", "compiled", "packed", "packed-compiled", "onnx"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checkpoint(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def comments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("comments") / "comments.csv.gz"
    with gzip.open(file, "wt", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([("id", "body"), *((number, text) for number, (text, _) in enumerate(sentences(60, seed=3)))])
    return file


def invented_tokens(longest: int) -> list[list[np.ndarray]]:  # type: ignore[type-arg]
    draw = np.random.default_rng(0)
    return [[draw.integers(5, 200, length) for length in draw.integers(1, longest + 1, 30)]]


def run(comments: Path, output: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--comments", comments, "--output", output, "--device", "cpu"]
    quick = ["--rounds", "2", "--workers", "1", "--token-budget", "256", "--compiler", "aot_eager"]
    everything = [str(part) for part in (*command, *quick, *arguments)]
    return subprocess.run(everything, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("family", "pooling"), [("bert", "mean"), ("roberta", "first"), ("roberta", "mean")])
@pytest.mark.parametrize("name", PATHS)
def test_every_path_answers_as_transformers_does(family: Any, pooling: str, name: str, tmp_path: Path) -> None:
    classifier = model.load(str(build_checkpoint(tmp_path, family, pooling)), max_length=512)
    tokens = invented_tokens(classifier.max_length)
    _, wanted = score_all(reference_path(classifier, CONDITIONS), lambda: tokens, 30, 28)
    sample, found = score_all(builders(classifier, CONDITIONS)[name](), lambda: tokens, 30, 28)
    assert np.ptp(wanted, axis=0).max() > 0.2  # texts differ, so agreement means something
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert sample.tokens == sum(map(len, tokens[0])) <= sample.computed


def test_random_weights_make_a_forgotten_mask_fail_the_gate() -> None:
    classifier = model.load("minilm-l6", max_length=128)
    padded = model.Padded(classifier.reference)
    ids = torch.zeros(2, 32, dtype=torch.int64)
    ids[:, :16] = torch.arange(1000, 1032).reshape(2, 16)
    positions = torch.arange(32)
    with torch.no_grad():
        right, wrong = (padded(ids, positions, torch.tensor([length, length])).sigmoid() for length in (16, 32))
    assert (right - wrong).abs().max() > 4 * TOLERANCES[torch.float16]


def test_what_a_path_never_answers_is_no_number(checkpoint: Path) -> None:
    path = reference_path(model.load(str(checkpoint), max_length=512), CONDITIONS)
    _, found = score_all(path, lambda: invented_tokens(20), 31, 28)
    assert np.isnan(found[30]).all()
    assert np.isfinite(found[:30]).all()


def test_operations_are_those_of_the_matrices_and_of_attention() -> None:
    config = model.SHAPES["roberta-base"]()
    # 85 million weights in the layers' matrices, two operations each and token.
    assert operations(config, np.array([1])) == pytest.approx(2 * 84.9e6, rel=0.01)
    assert operations(config, np.array([200, 200])) < operations(config, np.array([400]))


def test_the_result_holds_every_path_with_raw_samples_and_says_what_is_missing(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    done = run(comments, output, "--model", checkpoint)
    assert done.returncode == 0, done.stderr
    content = json.loads(output.read_text())
    (measured,) = content["models"]
    assert [path["name"] for path in measured["paths"]] == PATHS
    for path in measured["paths"]:
        assert path["largest_difference"] < 1e-5
        for kind in ("offline", "compute"):
            rates = [sample["texts"] / sample["seconds"] for sample in path["rounds"][kind]]
            assert path["rates"][kind] == {"texts_per_s": np.median(rates), "lowest": min(rates), "highest": max(rates)}
            assert len(rates) == 2
    assert (measured["missing"], measured["failed"], measured["weights"]) == ({}, {}, "trained")
    assert content["texts"]["count"] == 60
    assert "missing" in content["http"]
    # Figures of the target are those of its model, on its device.
    assert (content["offline_texts_per_s"], content["http_texts_per_s"]) == (None, None)
    assert str(tmp_path) not in output.read_text()
    assert done.stdout.count("\n| checkpoint |") == len(PATHS) + 1


def test_without_onnx_runtime_the_rest_is_measured(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError\n")
    search = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = run(comments, tmp_path / "gpu.json", "--model", checkpoint, PYTHONPATH=search)
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "gpu.json").read_text())["models"]
    assert measured["missing"] == {"onnx": "onnxruntime is not installed"}
    assert [path["name"] for path in measured["paths"]] == PATHS[:-1]


def test_a_path_that_fails_is_told_and_costs_the_others_nothing(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    done = run(comments, tmp_path / "gpu.json", "--model", checkpoint, "--compiler", "no-such-compiler")
    assert done.returncode == 1
    (measured,) = json.loads((tmp_path / "gpu.json").read_text())["models"]
    assert list(measured["failed"]) == ["compiled", "packed-compiled"]
    assert [path["name"] for path in measured["paths"]] == ["eager-in-order", "eager-buckets", "packed", "onnx"]
    assert "failed: " in done.stdout


def test_the_server_is_measured_when_it_serves_the_checkpoint(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    data, repository, scratch = write_data(tmp_path / "data"), tmp_path / "repository", tmp_path / "scratch"
    scratch.mkdir()
    pipeline.export(checkpoint, data=data, repository=repository, precision="fp32", scratch=scratch)
    with running_server(sys.executable, EMPATHETIC_MODEL_REPOSITORY=str(repository)) as address:
        done = run(comments, tmp_path / "gpu.json", "--model", checkpoint, "--server", address, "--texts-per-request", 16)
    assert done.returncode == 0, done.stderr
    http = json.loads((tmp_path / "gpu.json").read_text())["http"]
    assert (http["summary"]["errors"], http["summary"]["calls"]) == (0, 2 * 4)
    assert [one["texts"] for one in http["rounds"]] == [60, 60]
    assert http["largest_difference"] < 1e-5
    assert http["readiness"]["status"] == "ready"


def test_a_server_with_another_model_has_no_figure(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    with running_server(sys.executable) as address:
        done = run(comments, tmp_path / "gpu.json", "--model", checkpoint, "--server", address)
    assert done.returncode == 2
    assert "the server's probabilities differ" in done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert "summary" not in content["http"]
    assert content["models"][0]["paths"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--server", "http://127.0.0.1:1"], "needs one checkpoint"),
        (["--model", "no-such-folder"], "no-such-folder"),
        (["--token-budget", "100"], "smaller than a text"),
    ],
    ids=["a server without its checkpoint", "a checkpoint that is not there", "a budget below one text"],
)
def test_what_cannot_be_measured_is_refused_in_one_line(arguments: list[str], reason: str, comments: Path, tmp_path: Path) -> None:
    done = run(comments, tmp_path / "gpu.json", "--model", "minilm-l6", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_machine_without_cuda_is_told_so(comments: Path, tmp_path: Path) -> None:
    done = run(comments, tmp_path / "gpu.json", "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
