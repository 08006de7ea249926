"""`empathetic-bench responder-sheet`: the responder's replies to fixed prompts, as a page to read and as a blind sheet to judge.

The sheet shows two replies to each prompt, the responder's and a written one, in an order drawn by a seed. Which is whose stands in a key
file of its own, to be opened when every row is judged (`judging`).
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

from ..server_process import running_server
from .asking import Said, ask
from .measuring import QUIET

PROMPTS, PAGE, SHEET, KEY = "prompts.tsv", "replies.md", "sheet.tsv", "key.json"
COLUMNS = ("number", "prompt", "A", "B", "better", "A_is", "B_is")
_MEANING = {"crisis": "the written words for danger", "fallback": "a written reply stood in"}


def run(folder: Path, *, model: Path, classifier: Path, server_python: str, seed: int, force: bool) -> str:
    """Ask both and write page, sheet and key.

    Args:
        folder: holds prompts.tsv; the rest is written there.
        model: a folder like models/responder/onnx.
        classifier: the classifier's directory.
        server_python: interpreter that runs the server.
        seed: of the order of the two replies.
        force: replace a sheet in which something has been judged.

    Returns:
        what was written, in a line.

    Raises:
        OSError, RuntimeError: a file is missing, the server does not start or answer, or judgements would be lost.
    """
    if not force and is_judged(folder / SHEET):
        raise RuntimeError(f"{folder / SHEET} holds judgements; --force replaces them")
    prompts = read_prompts(folder / PROMPTS)
    digest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))["files"]["model.onnx"]
    settings = {"EMPATHETIC_MODEL_REPOSITORY": str(classifier.parent), **QUIET}
    texts = [prompt for _, prompt in prompts]
    said = {}
    for name, more in (
        ("responder", {"EMPATHETIC_GENERATOR": "embedded", "EMPATHETIC_RESPONDER": str(model)}),
        ("written", {"EMPATHETIC_GENERATOR": "written"}),
    ):
        with running_server(server_python, **settings, **more) as address:
            said[name] = asyncio.run(ask(address, texts))
    write_page(folder / PAGE, prompts, said["responder"], digest)
    write_sheet(folder, prompts, said["responder"], said["written"], seed=seed, digest=digest)
    return f"{folder / PAGE}, {folder / SHEET} to judge; {folder / KEY} not to be opened before"


def read_prompts(path: Path) -> list[tuple[str, str]]:
    """Return (kind, prompt) of each row."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    return [(kind, prompt) for kind, prompt in rows]


def is_judged(path: Path) -> bool:
    """Whether somebody has written into a sheet."""
    return path.exists() and any(row["better"] or row["A_is"] or row["B_is"] for row in read_sheet(path))


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Return the rows of a sheet."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_page(path: Path, prompts: Sequence[tuple[str, str]], said: Sequence[Said], digest: str) -> None:
    """Write the prompts with the responder's replies, by kind."""
    lines = ["# What the responder says", "", f"As a person gets it from the server. `onnx/model.onnx` has the SHA-256 `{digest}`."]
    for kind in dict.fromkeys(kind for kind, _ in prompts):
        lines += ["", f"## {kind.capitalize()}", ""]
        for (its_kind, prompt), answer in zip(prompts, said, strict=True):
            if its_kind == kind:
                meaning = _MEANING.get(answer.finish_reason)
                lines += [f"> {_escaped(prompt)}", "", f"{_escaped(answer.reply)}{f' *({meaning})*' if meaning else ''}", ""]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def write_sheet(
    folder: Path, prompts: Sequence[tuple[str, str]], responder: Sequence[Said], written: Sequence[Said], *, seed: int, digest: str
) -> None:
    """Write the sheet and the key; a prompt has the responder's reply at A or at B as the seed has it."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    key = []
    with (folder / SHEET).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        for number, ((_, prompt), own, other) in enumerate(zip(prompts, responder, written, strict=True), start=1):
            place = draw.choice("AB")
            shown = {place: _in_one_line(own.reply), "AB".replace(place, ""): _in_one_line(other.reply)}
            writer.writerow({"number": number, "prompt": prompt, **shown})
            key.append({"number": number, "responder": place, "finish_reason": own.finish_reason})
    content = {"seed": seed, "model_sha256": digest, "rows": key}
    (folder / KEY).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """Keep a text's own marks from becoming Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*_<>[]#|" else letter for letter in _in_one_line(text))
