"""`empathetic-bench responder`: the committed responder on openings it has not seen, beside written replies, over HTTP.

Writes counts and times, never a message or a reply.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import environment
from ..server_process import running_server
from . import figures
from .asking import Reading, Said, ask, read_emotions, read_metrics
from .openings import Openings, read_openings

# A line of log for each answer would bury what is reported.
QUIET = {"EMPATHETIC_PAGE": "false", "EMPATHETIC_LOG_LEVEL": "error"}
# Beside the unpleasant openings, this share of others, for variety and specificity.
_OTHER_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class ResponderBench:
    """What is measured, and where the result goes.

    Attributes:
        model: a folder like models/responder/onnx.
        pretrained: the same of the model before fine-tuning, or None.
        classifier: the classifier's directory.
        server_python: interpreter that runs the server.
        data: folder with dialogue/.
        count: openings of unpleasant feeling; a third as many others are added.
        is_test: take the test split: for a final report, never for a choice.
        output: result file.
    """

    model: Path
    pretrained: Path | None
    classifier: Path
    server_python: str
    data: Path
    count: int
    is_test: bool
    output: Path


@dataclass(frozen=True, slots=True)
class _System:
    """A way to answer: settings of the server, its model's name there, if it has one, and how replies end that are its own."""

    settings: dict[str, str]
    generator: str | None
    own: frozenset[str]


def run(config: ResponderBench, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure every system on the same openings, and write the result file.

    Raises:
        OSError, RuntimeError: a file is missing, or the server does not start or answer.
    """
    manifest = json.loads((config.model / "manifest.json").read_text(encoding="utf-8"))
    percent = manifest["training"]["config"]["held_out_percent"]
    openings = read_openings(config.data, held_out_percent=percent, is_test=config.is_test)
    systems = _systems(config)
    with running_server(config.server_python, **_settings(config, systems["written"])) as address:
        openings, readings = _choose(openings, asyncio.run(read_emotions(address, openings.texts)), config.count)
    unpleasant = sum(reading.valence <= figures.UNPLEASANT for reading in readings)
    report(f"{len(openings.texts)} openings, {unpleasant} of them unpleasant")
    measured = {}
    for name, system in systems.items():
        measured[name] = _measure(config, system, openings.texts, readings)
        report(f"{name}: {measured[name]['ends']}")
    content = {
        "benchmark": "responder",
        **environment.describe(("aiohttp",)),
        "model": {
            "sha256": manifest["files"]["model.onnx"],
            **{key: manifest[key] for key in ("precision", "parameters", "window", "figures")},
            "metrics": manifest["training"]["metrics"],
        },
        "openings": {"name": openings.name, "count": len(openings.texts), "unpleasant": unpleasant, "sha256": openings.sha256},
        "systems": measured,
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = config.output.with_suffix(".partial")
    temporary.write_text(json.dumps(content) + "\n")
    temporary.replace(config.output)
    return content


def _systems(config: ResponderBench) -> dict[str, _System]:
    spoken = frozenset(["stop", "length"])
    models = {"responder": config.model, **({"pretrained": config.pretrained} if config.pretrained else {})}
    systems = {
        name: _System({"EMPATHETIC_GENERATOR": "embedded", "EMPATHETIC_RESPONDER": str(model)}, "embedded", spoken)
        for name, model in models.items()
    }
    return {**systems, "written": _System({"EMPATHETIC_GENERATOR": "written"}, None, frozenset(["fallback"]))}


def _settings(config: ResponderBench, system: _System) -> dict[str, str]:
    return {"EMPATHETIC_MODEL_REPOSITORY": str(config.classifier.parent), **QUIET, **system.settings}


def _choose(openings: Openings, readings: Sequence[Reading], count: int) -> tuple[Openings, list[Reading]]:
    """Take the first `count` unpleasant openings, and a third as many others, in their order."""
    left = {True: count, False: round(count * _OTHER_SHARE)}
    texts, kept = [], []
    for text, reading in zip(openings.texts, readings, strict=True):
        is_unpleasant = reading.valence <= figures.UNPLEASANT
        if left[is_unpleasant]:
            left[is_unpleasant] -= 1
            texts.append(text)
            kept.append(reading)
    return Openings(openings.name, tuple(texts)), kept


def _measure(config: ResponderBench, system: _System, messages: Sequence[str], readings: Sequence[Reading]) -> dict[str, Any]:
    with running_server(config.server_python, **_settings(config, system)) as address:
        said = asyncio.run(ask(address, messages))
        metrics = asyncio.run(read_metrics(address))
        felt = asyncio.run(read_emotions(address, [answer.reply for answer in said]))
    counted = ("empathetic_rejected_replies_total", "empathetic_guarded_replies_total", "empathetic_generator_replies_total")
    return {
        "ends": figures.count_ends(said),
        # What the person reads, whoever wrote it; and of that, what this system wrote itself.
        "shown": _count(messages, readings, said, felt, lambda answer: answer.finish_reason != "crisis"),
        "own": _count(messages, readings, said, felt, lambda answer: answer.finish_reason in system.own),
        "speed": figures.speed(said, metrics, system.generator),
        "metrics": {name: value for name, value in metrics.items() if name.partition("{")[0] in counted},
    }


def _count(
    messages: Sequence[str], readings: Sequence[Reading], said: Sequence[Said], felt: Sequence[Reading], is_kept: Callable[[Said], bool]
) -> dict[str, Any]:
    kept = [row for row in zip(messages, readings, said, felt, strict=True) if is_kept(row[2])]
    replies = [answer.reply for _, _, answer, _ in kept]
    return {
        **figures.count_wording(replies),
        **figures.count_fitting([reading for _, reading, _, _ in kept], [reading for *_, reading in kept]),
        "overlap": figures.overlaps([message for message, *_ in kept], replies),
    }
