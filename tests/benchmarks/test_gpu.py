"""On a processor the paths are the same but for the device; what only CUDA has (graphs, its kernels) is not tested here."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from empathetic_bench.server_process import running_server
from empathetic_export import pipeline

from benchmarks.gpu import model
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.conditions import Conditions
from benchmarks.gpu.measuring import TOLERANCES, operations, score_all
from benchmarks.gpu.over_http import Expected, Load, measure
from benchmarks.gpu.paths import builders, reference_path
from tests.export.conftest import build_checkpoint
from tests.tiny_models import LABELS, sentences, write_data

torch.set_num_threads(1)  # models this small gain nothing from more, and wait for them where others compute
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


def flags(comments: Path, output: Path, *more: object) -> list[str]:
    quick = ["--device", "cpu", "--rounds", 2, "--workers", 1, "--token-budget", 256, "--compiler", "aot_eager"]
    return [str(part) for part in ("--comments", comments, "--output", output, *quick, *more)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, comments: Path, tmp_path: Path) -> Callable[..., int]:
    """Run the command in this process, which has already paid for torch; returns its exit status."""

    def call(*more: object) -> int:
        monkeypatch.setattr(sys, "argv", ["gpu", *flags(comments, tmp_path / "gpu.json", *more)])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code  # type: ignore[return-value]  # always given

    return call


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the product's server with the checkpoint exported."""
    folder = tmp_path_factory.mktemp("served")
    pipeline.export(checkpoint, data=write_data(folder / "data"), repository=folder / "models", precision="fp32", scratch=folder)
    with running_server(sys.executable, EMPATHETIC_MODEL_REPOSITORY=str(folder / "models")) as address:
        yield address


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


def test_the_command_writes_every_path_with_raw_samples_and_says_what_is_missing(checkpoint: Path, comments: Path, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", *flags(comments, output, "--model", checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


def test_without_onnx_runtime_the_rest_is_measured(
    checkpoint: Path, run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python does when it is not installed
    assert run("--model", checkpoint) == 0
    (measured,) = json.loads((tmp_path / "gpu.json").read_text())["models"]
    assert measured["missing"] == {"onnx": "onnxruntime is not installed"}
    assert [path["name"] for path in measured["paths"]] == PATHS[:-1]


def test_a_path_that_fails_is_told_and_costs_the_others_nothing(
    checkpoint: Path, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", checkpoint, "--compiler", "no-such-compiler") == 1
    (measured,) = json.loads((tmp_path / "gpu.json").read_text())["models"]
    assert list(measured["failed"]) == ["compiled", "packed-compiled"]
    assert [path["name"] for path in measured["paths"]] == ["eager-in-order", "eager-buckets", "packed", "onnx"]
    assert "failed: " in capsys.readouterr().out


def test_the_server_is_measured_when_it_serves_the_checkpoint(
    checkpoint: Path, served: str, run: Callable[..., int], tmp_path: Path
) -> None:
    assert run("--model", checkpoint, "--server", served, "--texts-per-request", 16) == 0
    http = json.loads((tmp_path / "gpu.json").read_text())["http"]
    assert (http["summary"]["errors"], http["summary"]["calls"]) == (0, 2 * 4)
    assert [one["texts"] for one in http["rounds"]] == [60, 60]
    assert http["largest_difference"] < 1e-5
    assert http["readiness"]["status"] == "ready"


def test_a_server_with_another_model_has_no_figure(served: str) -> None:
    texts = [text for text, _ in sentences(4)]
    expected = Expected(list(LABELS), np.full((4, 28), 0.5, np.float32), [True] * 4, tolerance=5e-3)
    with pytest.raises(ArithmeticError, match="the server's probabilities differ"):
        measure(Load(served, clients=1, texts_per_request=4, rounds=1), texts, expected)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--server", "http://127.0.0.1:1"], "needs one checkpoint"),
        (["--model", "no-such-folder"], "no-such-folder"),
        (["--token-budget", "100"], "smaller than a text"),
    ],
    ids=["a server without its checkpoint", "a checkpoint that is not there", "a budget below one text"],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    arguments: list[str], reason: str, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", "minilm-l6", *arguments) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_machine_without_cuda_is_told_so(run: Callable[..., int]) -> None:
    assert "no CUDA device" in str(run("--device", "cuda"))
