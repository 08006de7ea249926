"""The responder's benchmarks as their users run them: real servers, the committed classifier, and a tiny model in the real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai has no wheel here")

from tests.tiny_dialogues import write_dialogues, write_lines  # after the skip
from tests.tiny_generator import SPOKEN, build_generator

pytestmark = pytest.mark.slow
SAD = "I am so sad and lonely, my kite sank in lake {0} and I miss it terribly."
GLAD = "I am so happy and excited, my goat won ribbon {0} today!"
FIGURES = {"perplexity_per_token": 5.5, "perplexity_per_word": 7.25, "bytes": 1_500_000}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = build_generator(tmp_path_factory.mktemp("responder") / "onnx", context_tokens=8192)
    manifest = {
        "files": {"model.onnx": "abc"},
        "precision": "int8",
        "parameters": 1_250_000,
        "window": 512,
        "figures": {"replies": 3, "tokens": 9, "words": 9, "bfloat16": FIGURES, "int8": FIGURES},
        "training": {"config": {"held_out_percent": 50}, "metrics": {}},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def bench(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(root / folder) for folder in ("server", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": paths, "EMPATHETIC_SERVER_PYTHON": sys.executable}
    command = [sys.executable, "-m", "empathetic_bench", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_replies_are_counted_beside_written_ones_and_no_sentence_is_kept(root: Path, model: Path, tmp_path: Path) -> None:
    data = write_dialogues(tmp_path / "data")
    said = [*(SAD.format(number) for number in range(30)), *(GLAD.format(number) for number in range(30))]
    rows = [{"id": f"hit:{number}_conv:{number}", "turns": [{"role": "speaker", "text": text}]} for number, text in enumerate(said)]
    write_lines(data, "empathetic_dialogues_train", rows)
    output = tmp_path / "responder.json"
    result = bench(root, "responder", "--data", data, "--responder", model, "--openings", "6", "--output", output)
    assert result.returncode == 0, result.stderr[-2000:]
    content = json.loads(output.read_text())
    assert content["openings"]["unpleasant"] == 6
    assert content["openings"]["count"] == 8
    spoken, written = content["systems"]["responder"], content["systems"]["written"]
    assert spoken["ends"] == {"stop": 8}
    assert (spoken["own"]["replies"], spoken["own"]["distinct_replies"], spoken["own"]["unpleasant"]) == (8, 1, 6)
    assert spoken["speed"]["tokens_per_s"] > 0
    assert len(spoken["speed"]["first_token_ms"]) == 8
    assert written["ends"] == {"fallback": 8}
    assert written["own"]["distinct_replies"] > 1
    text = output.read_text()
    assert not any(sentence in text for sentence in (*said, SPOKEN, "kite", "ribbon", str(tmp_path)))
    assert "| its own reply passes the checks and reaches the person | 8 of 8, 100.0 %" in result.stdout
    assert "7.25 a word in int8" in result.stdout


def test_the_sheet_is_written_blind_judged_and_counted(root: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.tsv").write_text("kind\tprompt\nordinary\tMy kite fell.\nodd\tI want to kill myself tonight.\n")
    result = bench(root, "responder-sheet", "--folder", tmp_path, "--responder", model)
    assert result.returncode == 0, result.stderr[-2000:]
    page = (tmp_path / "replies.md").read_text()
    assert SPOKEN in page
    assert page.count("*(the written words for danger)*") == 1
    unjudged = bench(root, "responder-sheet", "--folder", tmp_path, "--unblind", "--output", tmp_path / "out.json")
    assert (unjudged.returncode, "row 1: better" in unjudged.stderr) == (1, True)
    head, first, second, _ = (tmp_path / "sheet.tsv").read_text().split("\n")
    assert SPOKEN in first.split("\t")
    own = "A" if first.split("\t")[2] == SPOKEN else "B"
    judged = [f"{row.removesuffix(3 * chr(9))}\t{better}\tgood\tbland" for row, better in ((first, own), (second, "tie"))]
    (tmp_path / "sheet.tsv").write_text("\n".join([head, *judged, ""]))
    counted = bench(root, "responder-sheet", "--folder", tmp_path, "--unblind", "--output", tmp_path / "out.json")
    assert counted.returncode == 0, counted.stderr
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["better"] == {"responder": 1, "written": 0, "tie": 1}
    assert content["spoken"] == 1


def test_a_missing_model_is_one_line(root: Path, tmp_path: Path) -> None:
    result = bench(root, "responder-sheet", "--folder", root / "benchmarks" / "responder", "--responder", tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


def test_documents_show_only_what_was_measured_of_the_model_that_is_there(root: Path, model: Path, tmp_path: Path) -> None:
    for name in ("README.md", "docs", "benchmarks/results"):
        source = root / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)  # type: ignore[operator]
    shutil.copytree(model, tmp_path / "models" / "responder" / "onnx")
    card = tmp_path / "models" / "responder" / "README.md"
    card.write_text("<!-- responder -->\n<!-- /responder -->\n<!-- responder-sheet -->\n<!-- /responder-sheet -->\n")
    judged = {"better": {"responder": 5, "written": 3, "tie": 2}, "spoken": 9}
    judged["marks"] = {name: {"good": 4, "bland": 3, "wrong": 3} for name in ("responder", "written")}
    for digest, shown in (("abc", "5 of 10"), ("another", "Not measured yet.")):
        (tmp_path / "benchmarks" / "results" / "responder-sheet.json").write_text(json.dumps({"model_sha256": digest, **judged}))
        paths = {**os.environ, "PYTHONPATH": str(root / "benchmarks")}
        subprocess.run([sys.executable, "-m", "empathetic_bench", "render"], cwd=tmp_path, env=paths, check=True, timeout=100)
        for document in (card, tmp_path / "docs" / "responder-evaluation.md"):
            assert shown in document.read_text()
