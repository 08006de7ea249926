"""Writes `results/<timestamp>/`, which appears whole or not at all. Knows no model: reports and history come in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import plots
from .checkpoint import write_json
from .errors import ResultsError
from .tables import summary
from .view import METRICS, SUMMARY


def write(
    results: Path, *, training: Mapping[str, Any], split_reports: Mapping[str, Any], history: Sequence[Mapping[str, Any]], card: Path
) -> Path:
    """Write one directory of results.

    Args:
        results: the parent of the new directory.
        training: the content of the checkpoint's `training.json`: settings, versions and hashes.
        split_reports: `evaluation.report` of each split.
        history: the Trainer's log.
        card: the checkpoint's model card, which is copied.

    Returns:
        the new directory, named after the time in UTC.

    Raises:
        ResultsError: `results` cannot be written.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    partial = results / f".{stamp}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
    except OSError as exc:
        raise ResultsError(f"{results}: {exc.strerror}") from exc
    try:
        (partial / SUMMARY).write_text(summary(training, split_reports), encoding="utf-8")
        for split, report in split_reports.items():
            write_json(partial / METRICS.format(split), report)
        write_json(partial / "training.json", training)
        shutil.copyfile(card, partial / card.name)
        plots.write(partial, split_reports["test"], history)
        partial.replace(results / stamp)
    except BaseException:  # also an interrupt: what is left would be of no use to anyone
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return results / stamp
