"""Writes and reads result files, and renders them as Markdown between the markers of a document. Knows no measuring."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_NUMBERS = re.compile(r"\[\n([-+0-9.e,\s]+)\]")


class ReportError(Exception):
    """A document has no place for the table, or a result file is not one."""


def quality_table(content: dict[str, Any]) -> str:
    """Return the table of `empathetic-bench quality`: the served artifact at each rule, and its checkpoint if that was measured."""
    lines = [
        "| on the test split | micro F1 | macro F1 |",
        "|---|---:|---:|",
    ]
    for name, rule in (
        ("thresholds per label, fitted on dev", "per_label"),
        ("one threshold, fitted on dev", "single"),
        ("fixed 0.5", "fixed"),
    ):
        micro, macro = content["rules"][rule]["micro_f1"], content["rules"][rule]["macro_f1"]
        lines.append(f"| served {content['precision']} model, {name} | {_interval(micro)} | {_interval(macro)} |")
    if before := content.get("checkpoint"):
        lines.append(
            f"| the same before export (PyTorch fp32), thresholds per label | {before['micro_f1']:.4f} | {before['macro_f1']:.4f} |"
        )
    lines += ["", f"{content['texts']['count']} texts ({content['texts']['name']}); in brackets 95 % bootstrap intervals over texts."]
    return "\n".join(lines)


def label_table(content: dict[str, Any]) -> str:
    """Return precision, recall and F1 of each label, best first."""
    lines = ["| label | threshold | precision | recall | F1 | support |", "|---|---:|---:|---:|---:|---:|"]
    for row in sorted(content["labels"], key=lambda row: -row["f1"]):
        scores = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {row['label']} | {row['threshold']:.2f} | {scores} | {row['support']} |")
    return "\n".join(lines)


def _interval(score: dict[str, float]) -> str:
    return f"{score['value']:.4f} ({score['low']:.3f} to {score['high']:.3f})"


def example_block(content: dict[str, Any]) -> str:
    """Return the first request and its answer, word for word."""
    first = content["first"]
    command = f"curl -s http://127.0.0.1:8080/v1/emotions -d '{json.dumps({'input': first['text']})}'"
    return f"```\n$ {command}\n{first['answer']}\n```"


def sentence_table(content: dict[str, Any]) -> str:
    """Return what the server found in each of the plain sentences."""
    lines = ["| text | emotions | valence |", "|---|---|---:|"]
    for row in content["sentences"]:
        answer = row["answer"]
        emotions = ", ".join(f"{emotion['label']} {emotion['score']:.2f}" for emotion in answer["emotions"])
        lines.append(f"| {row['text']} | {emotions}{'' if answer['confident'] else ' (not confident)'} | {answer['valence']:.2f} |")
    return "\n".join(lines)


def fill(document: str, name: str, table: str) -> str:
    """Put a table between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ReportError: the markers are not there.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = document.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ReportError(f"the markers {start} and {end} are missing")
    return f"{before}{start}\n{table}\n{end}{after}"


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a result file, whole or not at all; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    # Thousands of raw samples take a line together, not each.
    text = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(content, indent=1))
    temporary.write_text(f"{text}\n")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises:
        ReportError: it is missing or not JSON.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise ReportError(f"{path}: {exc}") from exc
    return content
