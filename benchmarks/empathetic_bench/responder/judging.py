"""`empathetic-bench responder-sheet --unblind`: counts a judged sheet with its key. Knows no server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .. import environment
from .sheet import KEY, SHEET, read_sheet

BETTER = {"A", "B", "tie"}
MARKS = {"good", "bland", "wrong"}


class SheetError(Exception):
    """The sheet is not judged to its end, or is not the one of its key; the message names the row."""


def unblind(folder: Path, output: Path) -> dict[str, Any]:
    """Count the sheet in a folder, and write the result file.

    Raises:
        SheetError: a row is not judged, or the key is another sheet's.
        OSError: a file is missing.
    """
    key = json.loads((folder / KEY).read_text(encoding="utf-8"))
    content = {
        "benchmark": "responder-sheet",
        **environment.describe(()),
        "model_sha256": key["model_sha256"],
        **count(read_sheet(folder / SHEET), key["rows"]),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".partial")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(output)
    return content


def count(sheet: list[dict[str, str]], key: list[dict[str, Any]]) -> dict[str, Any]:
    """Return whose reply is better how often, the marks of each, and how many of the responder's replies are the model's own words.

    Raises:
        SheetError: as `unblind` does.
    """
    if [row["number"] for row in sheet] != [str(row["number"]) for row in key]:
        raise SheetError("the rows of the sheet are not those of its key")
    better: Counter[str] = Counter()
    marks: dict[str, Counter[str]] = {"responder": Counter(), "written": Counter()}
    for row, entry in zip(sheet, key, strict=True):
        judged = {name: (row[name] or "").strip() for name in ("better", "A_is", "B_is")}
        for name, allowed in (("better", BETTER), ("A_is", MARKS), ("B_is", MARKS)):
            if judged[name] not in allowed:
                raise SheetError(f"row {row['number']}: {name} must be one of {', '.join(sorted(allowed))}, not {judged[name]!r}")
        place = entry["responder"]
        other = "B" if place == "A" else "A"
        better[{place: "responder", other: "written"}.get(judged["better"], "tie")] += 1
        marks["responder"][judged[f"{place}_is"]] += 1
        marks["written"][judged[f"{other}_is"]] += 1
    return {
        "better": {name: better[name] for name in ("responder", "written", "tie")},
        "marks": {name: {mark: found[mark] for mark in ("good", "bland", "wrong")} for name, found in marks.items()},
        "spoken": sum(entry["finish_reason"] in ("stop", "length") for entry in key),
    }
