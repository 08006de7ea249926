from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from empathetic_bench.responder import judging, sheet, tables
from empathetic_bench.responder.asking import Said

PROMPTS = [("ordinary", f"My kite number {number} fell.") for number in range(40)]
# The model's replies are told from the written ones by how they begin, which a judge does not know.
OWN = [Said(f"own {number} <b>*x*</b>", "fallback" if number == 3 else "stop", None, None, 1.0) for number in range(40)]
OTHER = [Said(f"other\n{number}", "fallback", None, None, 1.0) for number in range(40)]


def write(folder: Path, seed: int = 1) -> list[dict[str, str]]:
    sheet.write_sheet(folder, PROMPTS, OWN, OTHER, seed=seed, digest="abc")
    return sheet.read_sheet(folder / sheet.SHEET)


def judge(folder: Path, rows: list[dict[str, str]]) -> None:
    """Judge as somebody who likes the model's replies but the first two, and finds the tenth no better than the other."""
    for number, row in enumerate(rows):
        own = "A" if row["A"].startswith("own") else "B"
        other = "AB".replace(own, "")
        row["better"] = "tie" if number == 10 else other if number < 2 else own
        row[f"{own}_is"], row[f"{other}_is"] = ("wrong" if number < 2 else "good"), "bland"
    save(folder, rows)


def save(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / sheet.SHEET).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, sheet.COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_unblinding_gives_each_judgement_to_whom_it_belongs(tmp_path: Path) -> None:
    judge(tmp_path, write(tmp_path))
    content = judging.unblind(tmp_path, tmp_path / "out" / "result.json")
    assert content["better"] == {"responder": 37, "written": 2, "tie": 1}
    assert content["marks"] == {"responder": {"good": 38, "bland": 0, "wrong": 2}, "written": {"good": 0, "bland": 40, "wrong": 0}}
    assert (content["spoken"], content["model_sha256"]) == (39, "abc")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == content
    table = tables.sheet_table(content)
    assert "| the responder's | 37 of 40, 92.5 % (" in table
    assert "| responder | 38 of 40" in table


def test_the_sheet_alone_does_not_tell_whose_reply_is_whose(tmp_path: Path) -> None:
    rows = write(tmp_path)
    places = Counter("A" if row["A"].startswith("own") else "B" for row in rows)
    assert min(places.values()) > 8
    assert set(rows[0]) == set(sheet.COLUMNS)
    again = write(tmp_path)
    assert again == rows
    assert write(tmp_path, seed=2) != rows
    key = json.loads((tmp_path / sheet.KEY).read_text())
    assert (key["seed"], len(key["rows"])) == (2, 40)


@pytest.mark.parametrize(
    ("column", "value"), [("better", ""), ("better", "C"), ("A_is", "great"), ("B_is", "")], ids=["empty", "neither", "unknown", "missing"]
)
def test_a_row_that_is_not_judged_is_named(tmp_path: Path, column: str, value: str) -> None:
    rows = write(tmp_path)
    judge(tmp_path, rows)
    rows[6][column] = value
    save(tmp_path, rows)
    with pytest.raises(judging.SheetError, match=f"row 7: {column}"):
        judging.unblind(tmp_path, tmp_path / "result.json")
    assert not (tmp_path / "result.json").exists()


def test_the_key_of_another_sheet_is_refused(tmp_path: Path) -> None:
    rows = write(tmp_path)
    judge(tmp_path, rows)
    save(tmp_path, rows[:-1])
    with pytest.raises(judging.SheetError, match="not those of its key"):
        judging.unblind(tmp_path, tmp_path / "result.json")


def test_judgements_are_not_overwritten(tmp_path: Path) -> None:
    rows = write(tmp_path)
    assert not sheet.is_judged(tmp_path / sheet.SHEET)
    rows[0]["A_is"] = "good"
    save(tmp_path, rows)
    with pytest.raises(RuntimeError, match="holds judgements"):
        sheet.run(tmp_path, model=tmp_path, classifier=tmp_path, server_python="none", seed=1, force=False)


def test_the_page_shows_texts_as_they_are_and_who_stood_in(tmp_path: Path) -> None:
    sheet.write_page(tmp_path / "page.md", PROMPTS, OWN, "abc")
    page = (tmp_path / "page.md").read_text()
    assert "> My kite number 0 fell.\n\nown 0 \\<b\\>\\*x\\*\\</b\\>\n" in page
    assert page.count("*(a written reply stood in)*") == 1


def test_the_committed_prompts_are_sixty_and_different(root: Path) -> None:
    prompts = sheet.read_prompts(root / "benchmarks" / "responder" / sheet.PROMPTS)
    assert Counter(kind for kind, _ in prompts) == {"ordinary": 36, "hostile": 12, "odd": 12}
    assert len({prompt for _, prompt in prompts}) == 60
