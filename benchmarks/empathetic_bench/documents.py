"""Puts the committed results into the documents, as tables between their markers and as plots beside them. Knows no measuring."""

from __future__ import annotations

from pathlib import Path

from . import chat_tables, classifier_tables, load_tables, performance, plots, report, safety, sockets, stopping
from .responder import tables

RESULTS = Path("benchmarks/results")
RESPONDER = Path("models/responder/onnx")
_PLOTS = Path("docs/performance")
# Results of `empathetic-bench load` that docs/performance.md shows.
_LOADS = ("load-closed", "load-open", "load-burst", "load-mixed", "load-impatient")
# Document → the tables in it.
_DOCUMENTS = {
    Path("README.md"): ("example", "classifier", "quality", "sentences"),
    Path("docs/model.md"): ("quality", "labels", "quality-fast"),
    Path("docs/chat.md"): ("sockets",),
    Path("docs/performance.md"): ("targets", "latencies", *_LOADS, "scaling", "chat-times"),
    Path("docs/operations.md"): ("stop",),
    Path("docs/safety.md"): ("safety",),
    Path("docs/responder-evaluation.md"): ("responder", "responder-sheet"),
    Path("models/responder/README.md"): ("responder", "responder-sheet"),
}


def render(root: Path, *, check: bool) -> None:
    """Write the committed results' tables into the documents; with `check`, only see that they are up to date.

    Raises:
        ReportError: a result or a marker is missing, or a document is out of date.
    """
    measured = report.read(root / RESULTS / "quality.json")
    examples = report.read(root / RESULTS / "examples.json")
    shown_tables = {
        "example": report.example_block(examples),
        "sentences": report.sentence_table(examples),
        "classifier": classifier_tables.classifier_table(report.read(root / RESULTS / "classifier.json")),
        "quality": report.quality_table(measured),
        "labels": report.label_table(measured),
        "quality-fast": report.quality_table(report.read(root / RESULTS / "quality-fast.json")),
        "sockets": sockets.summary(report.read(root / RESULTS / "sockets.json")),
        "stop": stopping.summary(report.read(root / RESULTS / "stop.json")),
        "safety": safety.table(report.read(root / RESULTS / "safety.json")),
        **_responder_tables(root),
        **_performance_tables(root, is_drawing=not check),
    }
    for name, wanted in _DOCUMENTS.items():
        path = root / name
        if name.is_relative_to("models") and not path.exists():
            continue  # a clone without a responder
        document = filled = path.read_text(encoding="utf-8")
        for table in wanted:
            filled = report.fill(filled, table, shown_tables[table])
        if check and filled != document:
            raise report.ReportError(f"{name} is not what the committed results say; run `empathetic-bench render`")
        if filled != document:
            path.write_text(filled, encoding="utf-8")


def _performance_tables(root: Path, *, is_drawing: bool) -> dict[str, str]:
    """Return the tables of docs/performance.md, and draw its plots.

    Raises:
        ReportError: a result is not one.
    """
    names = ("classifier", "chat", "gpu", "quality", "sockets", "stop", "scaling", *_LOADS)
    results = {name: report.read(path) for name in names if (path := root / RESULTS / f"{name}.json").exists()}
    shown = dict.fromkeys((*_LOADS, "scaling", "chat-times"), tables.UNMEASURED)
    shown["targets"] = performance.target_table(results)
    shown["latencies"] = classifier_tables.latency_table(results["classifier"])
    if "chat" in results:
        shown["chat-times"] = chat_tables.chat_table(results["chat"])
    for name in (*_LOADS, "scaling"):
        if name in results:
            shown[name] = load_tables.load_table(results[name])
    drawn = (
        ("load-open", "latency.svg", plots.latency_against_throughput, "Latency against throughput"),
        ("load-open", "distribution.svg", plots.latency_distribution, "Distribution of latencies"),
        ("scaling", "scaling.svg", plots.scaling, "Throughput by length and by size of requests"),
    )
    for name, file, draw, title in drawn:
        if name in results:
            shown[name] += f"\n\n![{title}]({_PLOTS.name}/{file})"
            if is_drawing:
                draw(results[name], root / _PLOTS / file)
    return shown


def _responder_tables(root: Path) -> dict[str, str]:
    """Return the responder's tables; what was measured of another model than the one that is there was not measured.

    Raises:
        ReportError: a result is not one.
    """
    manifest = root / RESPONDER / "manifest.json"
    digest = report.read(manifest)["files"]["model.onnx"] if manifest.exists() else None
    measured, judged = root / RESULTS / "responder.json", root / RESULTS / "responder-sheet.json"
    shown = dict.fromkeys(("responder", "responder-sheet"), tables.UNMEASURED)
    if measured.exists() and (content := report.read(measured))["model"]["sha256"] == digest:
        shown["responder"] = tables.responder_table(content)
    if judged.exists() and (content := report.read(judged))["model_sha256"] == digest:
        shown["responder-sheet"] = tables.sheet_table(content)
    return shown
