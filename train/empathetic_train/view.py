"""Reads a directory of results back, for `--view-results`. Standard library only; knows nothing that the files do not say."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import ResultsError
from .tables import extremes

SUMMARY, METRICS = "summary.txt", "metrics_{}.json"


def view(directory: Path) -> str:
    """Return the summary and the best and worst labels of `results/<timestamp>/`, or of the newest when given `results/`.

    Raises:
        ResultsError: there is none, or a file is missing or malformed.
    """
    chosen = directory
    if not (directory / SUMMARY).is_file():
        finished = sorted(path.parent for path in directory.glob(f"[!.]*/{SUMMARY}"))
        if not finished:
            raise ResultsError(f"{directory}: holds no {SUMMARY}, nor does a directory in it")
        chosen = finished[-1]
    path = chosen / METRICS.format("test")
    try:
        summary = (chosen / SUMMARY).read_text(encoding="utf-8")
        per_label = json.loads(path.read_text(encoding="utf-8"))["per_label"]
        return f"{summary}\nLabels of the test split, by F1 with per-label thresholds:\n{extremes(per_label)}\n"
    except OSError as exc:
        raise ResultsError(f"{exc.filename}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ResultsError(f"{path}: malformed: {exc}") from exc
