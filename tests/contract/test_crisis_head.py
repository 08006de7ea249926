"""The crisis head from data to server: trained on an exported model, read by the server."""

from __future__ import annotations

import csv
import json
import lzma
import random
from pathlib import Path

import pytest
from empathetic_server.engines.crisis_head import read_crisis_head
from empathetic_server.engines.manifest import read_manifest
from empathetic_train.__main__ import main

from tests.server.tiny_artifact import build_artifact

DARK = [f"w{number}" for number in range(10)]
BRIGHT = [f"w{number}" for number in range(10, 100)]


def write_data(folder: Path) -> Path:
    """Posts whose dark words tell of danger, and everyday texts without them."""
    draw = random.Random(0)  # noqa: S311  # test data

    def text(words: list[str]) -> str:
        return " ".join(draw.choices(words, k=8))

    for name in ("crisis_train", "goemotions", "dialogue"):
        (folder / name).mkdir()
    with lzma.open(folder / "crisis_train" / "twitter_suicidal_intention.csv.xz", "wt", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["tweet", "intention"])
        rows.writerows([text(DARK if label else BRIGHT), label] for label in [0, 1] * 200)
        rows.writerow([" ", 1])
    (folder / "goemotions" / "train.tsv").write_text("".join(f"{text(BRIGHT)}\t0\tid\n" for _ in range(300)))
    with lzma.open(folder / "dialogue" / "self_dialogue.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"turns": [text(BRIGHT), text(BRIGHT)]}) + "\n" for _ in range(100))
    return folder


def train(repository: Path, data: Path) -> None:
    main(["crisis", "--data", str(data), "--model", str(repository / "emotion_classifier")])


def test_the_server_reads_what_training_wrote_and_it_tells_danger_from_everyday(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository, data = build_artifact(tmp_path / "repository"), tmp_path / "data"
    data.mkdir()
    train(repository, write_data(data))
    assert capsys.readouterr().out.strip().endswith("crisis_head.json")
    head = read_crisis_head(read_manifest(repository))
    assert head is not None
    card = json.loads((repository / "emotion_classifier" / "crisis_head.json").read_text())["card"]
    held = card["held_back"]
    assert card["texts"] == {"posts": 400, "goemotions": 300, "dialogues": 200}
    assert held["posts_of_danger"]["concern"] >= 0.5 * held["posts_of_danger"]["texts"] > 0
    assert held["everyday"]["high"] <= 0.1 * held["everyday"]["texts"]
    assert held["auc_posts"] > 0.99
    assert held["expected_calibration_error"] < 0.1


def test_training_twice_gives_the_same_head(tmp_path: Path) -> None:
    repository, data = build_artifact(tmp_path / "repository"), tmp_path / "data"
    data.mkdir()
    write_data(data)
    written = []
    for _ in range(2):
        train(repository, data)
        written.append((repository / "emotion_classifier" / "crisis_head.json").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "broken",
    ["crisis_train/twitter_suicidal_intention.csv.xz", "goemotions/train.tsv", "dialogue/self_dialogue.jsonl.xz"],
)
@pytest.mark.parametrize("how", ["missing", "rubbish"])
def test_a_source_that_is_missing_or_rubbish_is_one_line_and_writes_nothing(
    tmp_path: Path, broken: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repository, data = build_artifact(tmp_path / "repository"), tmp_path / "data"
    data.mkdir()
    write_data(data)
    (data / broken).unlink()
    if how == "rubbish":
        (data / broken).write_bytes(b"\xff\xfe rubbish")
    with pytest.raises(SystemExit) as exited:
        train(repository, data)
    captured = capsys.readouterr()
    assert exited.value.code == 2
    assert Path(broken).name in captured.err
    assert captured.err.count("\n") == 1
    assert not (repository / "emotion_classifier" / "crisis_head.json").exists()


def test_a_directory_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(SystemExit):
        train(tmp_path, write_data(tmp_path / "data"))
    assert "not an exported classifier" in capsys.readouterr().err
