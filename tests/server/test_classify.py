from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

TEXTS = ["w1 w2", "", "w3 w4 w5"]


@pytest.fixture(scope="module")
def classify(repository: Path, root: Path):  # type: ignore[no-untyped-def]
    """Run the command on the tiny model."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "EMPATHETIC_MODEL_REPOSITORY": str(repository), "PYTHONPATH": str(root / "server")}
        command = [sys.executable, "-m", "empathetic_server.classify", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=60, check=False)

    return run


def records(output: bytes) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in output.splitlines()]


def test_texts_from_arguments(classify) -> None:  # type: ignore[no-untyped-def]
    first, second = records(classify("w1 w2", "w3", "--top-k", "1").stdout)
    assert (first["index"], first["text"], first["truncated"], len(first["emotions"])) == (0, "w1 w2", False, 1)
    assert second["primary"] == second["emotions"][0]["label"]


def test_every_line_of_standard_input_has_its_line_of_output_in_order(classify) -> None:  # type: ignore[no-untyped-def]
    lines = [f"w{number % 100} w{number % 7}" for number in range(1500)]
    found = records(classify(stdin="\n".join(lines).encode()).stdout)
    assert [record["text"] for record in found] == lines
    assert [record["index"] for record in found] == list(range(1500))


def test_a_blank_text_and_undecodable_bytes_lose_no_line(classify) -> None:  # type: ignore[no-untyped-def]
    found = records(classify(stdin=b"w1\n\n\xff w2\n").stdout)
    assert found[1] == {"index": 1, "text": "", "error": "empty or blank"}
    assert len(found) == 3
    assert "primary" in found[2]


def test_csv_jsonl_parquet_and_plain_files_give_the_same_answers(classify, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text('id,body\n1,"w1 w2"\n2,\n3,"w3 w4 w5"\n')
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS))
    (tmp_path / "a.txt").write_text("\n".join(TEXTS))
    parquet.write_table(pa.table({"body": TEXTS}), tmp_path / "a.parquet")
    outputs = {name: classify("--file", tmp_path / name, "--column", "body").stdout for name in ("a.csv", "a.jsonl", "a.txt", "a.parquet")}
    assert len(set(outputs.values())) == 1
    assert [record["text"] for record in records(outputs["a.csv"])] == TEXTS


def test_a_table_has_one_line_a_text_and_no_control_characters(classify) -> None:  # type: ignore[no-untyped-def]
    output = classify("w1\x1b[31m\nw2", "w3", "--format", "table").stdout.decode()
    assert len(output.splitlines()) == 2
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "id,other\n1,x\n", "a.csv:1: no column 'text'"),
        ("a.csv", "id,text\n1,x\n2\n", "a.csv:3: fewer columns"),
        ("a.jsonl", '{"text": "w1"}\n{"text": 3}\n', "a.jsonl:2: no text under 'text'"),
        ("a.jsonl", "{\n", "a.jsonl:1:"),
        ("a.parquet", "not parquet", "a.parquet: not a Parquet file"),
    ],
)
def test_bad_files_are_named_with_their_line(classify, tmp_path: Path, name: str, content: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / name).write_text(content)
    result = classify("--file", tmp_path / name)
    assert result.returncode != 0
    assert complaint in result.stderr.decode()
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_and_a_missing_model_are_one_line(classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    result = classify("--file", tmp_path / "none.csv")
    assert (result.returncode != 0, len(result.stderr.splitlines())) == (True, 1)
    assert b"No such file" in result.stderr
