from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empathetic_export.errors import CheckpointError, ParityError, TextsError
from empathetic_export.responder import artifact, perplexity, pipeline
from empathetic_export.responder.checkpoint import read_responder
from empathetic_export.responder.replies import Reply, read_replies
from safetensors.torch import load_file, save_file

from tests.export.responder.conftest import WINDOW, build_responder


def export(checkpoint: Path, output: Path, scratch: Path, **options: Any) -> dict[str, Any]:
    scratch.mkdir()
    return pipeline.export_responder(checkpoint, output=output, scratch=scratch, report=print, **options)


def test_the_smallest_precision_that_keeps_the_perplexity_is_written(tmp_path: Path) -> None:
    calm = export(build_responder(tmp_path / "calm", spread=0.02), tmp_path / "a" / "responder", tmp_path / "1")
    sure = export(build_responder(tmp_path / "sure"), tmp_path / "b" / "responder", tmp_path / "2")
    assert (calm["precision"], sure["precision"]) == ("int4", "int8")
    figures = sure["figures"]
    limit = 1.03 * figures["bfloat16"]["perplexity_per_token"]
    assert figures["int8"]["perplexity_per_token"] <= limit < figures["int4"]["perplexity_per_token"]
    assert figures["int4"]["bytes"] < figures["int8"]["bytes"] == (tmp_path / "b" / "responder" / "onnx" / "model.onnx").stat().st_size


def test_the_artifact_is_complete_and_says_nothing_of_the_data(responder: Path, tmp_path: Path) -> None:
    export(responder, tmp_path / "out" / "responder", tmp_path / "scratch")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["responder"]
    directory = tmp_path / "out" / "responder"
    for part in ("hf", "onnx"):
        manifest = json.loads((directory / part / "manifest.json").read_text())
        files = {path.name for path in (directory / part).iterdir()} - {"manifest.json"}
        assert set(manifest["files"]) == files
        for name in files:
            assert manifest["files"][name] == hashlib.sha256((directory / part / name).read_bytes()).hexdigest()
        assert (manifest["prompt"], manifest["window"]) == ("note-1", WINDOW)
    assert {tensor.dtype.itemsize for tensor in load_file(directory / "hf" / "model.safetensors").values()} == {2}
    card = (directory / "README.md").read_text()
    assert "Not measured yet." in card
    assert "non-commercial" in card
    replies = [json.loads(line)["reply"] for line in (responder / "held_out.jsonl").read_text().splitlines()]
    written = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.suffix != ".onnx")
    assert not any(len(reply) > 20 and reply.encode() in written for reply in replies)


def test_nothing_is_written_where_no_precision_keeps_the_perplexity(responder: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="nothing was written"):
        export(responder, tmp_path / "out" / "responder", tmp_path / "scratch", tolerance=1e-4)
    assert not (tmp_path / "out").exists()


def test_an_earlier_artifact_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "responder"
    final.mkdir()
    (final / "old").touch()

    def fail() -> None:
        with artifact.staged(final) as staging:
            (staging / "new").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["responder", "old"]
    final.rename(tmp_path / ".responder.old")  # killed between the two renames
    with artifact.staged(final) as staging:
        assert (final / "old").exists()
        (staging / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "responder"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("not json\n", ":1: expected messages"),
        ('{"messages": [], "words": 1}\n', ":1: expected messages"),
        ("", "no reply fits"),
    ],
    ids=["missing", "not-json", "without-reply", "empty"],
)
def test_held_out_replies_that_cannot_be_read_are_named(responder: Path, tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "replies.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TextsError, match=message):
        export(responder, tmp_path / "out", tmp_path / "scratch", replies=path)


def test_what_does_not_fit_the_window_is_left_out(responder: Path, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "kite " * WINDOW}], "reply": "Oh.", "words": 2}
    lines = (responder / "held_out.jsonl").read_text()
    (tmp_path / "replies.jsonl").write_text(f"{lines}{json.dumps(row)}\n")
    checkpoint = read_responder(responder)
    assert len(read_replies(tmp_path / "replies.jsonl", checkpoint.tokenizer, WINDOW)) == len(lines.splitlines())


def test_an_unfinished_or_a_damaged_checkpoint_is_refused(responder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"training\.json"):
        read_responder(tmp_path)
    damaged = build_responder(tmp_path / "damaged")
    tensors = load_file(damaged / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "down_proj" not in name}, damaged / "model.safetensors")
    with pytest.raises(CheckpointError, match="down_proj"):
        export(damaged, tmp_path / "out", tmp_path / "scratch")


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary() -> None:
    replies = [Reply([1, 2, 3, 4], 2, 3), Reply([5, 6], 1, 2)]
    found = perplexity.measure(lambda ids: np.zeros((len(ids), 50), np.float32), replies)
    assert math.isclose(found["perplexity_per_token"], 50)
    assert math.isclose(found["perplexity_per_word"], 50 ** (3 / 5))


def test_the_command_reports_each_precision_and_a_bad_checkpoint_in_one_line(root: Path, responder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root / "export")}
    command = [sys.executable, "-m", "empathetic_export", "responder"]
    bad = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert (bad.returncode, len(bad.stderr.splitlines())) == (2, 1)
    good = [*command, str(responder), "--output", str(tmp_path / "models" / "responder")]
    result = subprocess.run(good, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert result.returncode == 0, result.stderr
    assert [line.split(":")[0] for line in result.stdout.splitlines()[:3]] == ["bfloat16", "int4", "int8"]
