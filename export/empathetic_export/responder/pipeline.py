"""The responder's export as a whole: read, convert, measure, choose, write. Knows no command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ParityError
from . import artifact, card
from .checkpoint import ResponderCheckpoint, read_responder
from .perplexity import measure, of_checkpoint, of_graph
from .replies import FILE, read_replies
from .to_genai import MODEL, write_genai

# Smallest first: the first one that keeps the perplexity is taken.
PRECISIONS = {"int4": 4, "int8": 8}
# A perplexity that is higher by this share is not the same model any more.
TOLERANCE = 0.03


def export_responder(
    directory: Path,
    *,
    output: Path,
    scratch: Path,
    report: Callable[[str], None],
    replies: Path | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Export a finished responder to `output`.

    Args:
        directory: what `empathetic-train responder` finished.
        output: becomes the artifact: `hf/`, `onnx/` and the model card.
        scratch: an empty directory for what is tried.
        report: takes a line for each figure.
        replies: held-out replies; None for the file that training wrote beside the checkpoint.
        tolerance: the share by which the perplexity per token may be above the checkpoint's.

    Returns:
        the manifest of `onnx/`.

    Raises:
        ExportError: the input is wrong, or no precision keeps the perplexity; nothing has been written.
    """
    checkpoint = read_responder(directory)
    measured_on = read_replies(replies or directory / FILE, checkpoint.tokenizer, checkpoint.shape.window)
    figures: dict[str, Any] = {
        "replies": len(measured_on),
        "tokens": sum(reply.tokens for reply in measured_on),
        "words": sum(reply.words for reply in measured_on),
        "bfloat16": measure(of_checkpoint(checkpoint), measured_on),
    }
    report(_line("bfloat16", figures["bfloat16"]))
    limit = (1 + tolerance) * figures["bfloat16"]["perplexity_per_token"]
    chosen = None
    for precision, bits in PRECISIONS.items():
        tried = scratch / precision
        _convert(checkpoint, bits, tried)
        figures[precision] = {**measure(of_graph(tried / MODEL, checkpoint), measured_on), "bytes": (tried / MODEL).stat().st_size}
        report(_line(precision, figures[precision]))
        if chosen is None and figures[precision]["perplexity_per_token"] <= limit:
            chosen = precision
    if chosen is None:
        raise ParityError(f"no precision keeps the perplexity per token below {limit:.3f}; nothing was written")
    with artifact.staged(output) as staging:
        artifact.write_hf(checkpoint, staging / "hf")
        artifact.write_manifest(staging / "hf", checkpoint, "bfloat16", figures)
        shutil.copytree(scratch / chosen, staging / "onnx")
        manifest = artifact.write_manifest(staging / "onnx", checkpoint, chosen, figures)
        (staging / card.FILE).write_text(card.render(manifest), encoding="utf-8")
    return manifest


def _convert(checkpoint: ResponderCheckpoint, bits: int, directory: Path) -> None:
    directory.mkdir()
    try:
        write_genai(checkpoint, bits, directory)
    except (KeyError, ValueError) as exc:
        raise CheckpointError(f"{checkpoint.directory}: cannot be converted: {exc}") from exc


def _line(precision: str, figures: dict[str, float]) -> str:
    size = f", {figures['bytes'] / 1e6:.1f} MB" if "bytes" in figures else ""
    return f"{precision}: perplexity {figures['perplexity_per_token']:.3f} a token, {figures['perplexity_per_word']:.3f} a word{size}"
