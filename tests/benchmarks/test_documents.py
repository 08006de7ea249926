"""The documents from results: tables between their markers, plots beside them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from empathetic_bench import documents, report
from empathetic_bench.chat_tables import chat_table
from empathetic_bench.classifier_tables import classifier_table, latency_table
from empathetic_bench.load_tables import load_table
from empathetic_bench.samples import Round

from tests.benchmarks.committed import chat, classifier, load, rounds

OPEN = load(
    "open",
    "requests/s",
    ("server", "synthetic", 1, 25, rounds([25, 25], latency_ms=10.0)),
    ("server", "synthetic", 1, 50, rounds([49, 50], latency_ms=40.0)),
    ("server", "synthetic", 1, 100, rounds([90, 91], latency_ms=400.0)),
    ("triton", "synthetic", 1, 25, rounds([24, 25], latency_ms=60.0)),
    ("triton", "synthetic", 1, 50, rounds([30, 31], latency_ms=900.0)),
)
SCALING = load(
    "closed", "clients", *(("server", f"tokens:{length}", each, 4, rounds([1000 / length])) for length in (8, 16) for each in (1, 8))
)


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """The documents and results of the clone, and what they need, to be changed."""
    for name in ("docs", "benchmarks/results"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "README.md", tmp_path)
    return tmp_path


def committed(clone: Path, **results: dict[str, Any]) -> str:
    """Write results, render, and return docs/performance.md."""
    for name, content in results.items():
        report.write(clone / documents.RESULTS / f"{name.replace('_', '-')}.json", content)
    documents.render(clone, check=False)
    return (clone / "docs" / "performance.md").read_text(encoding="utf-8")


def test_a_new_result_makes_the_documents_out_of_date_until_they_are_rendered(clone: Path) -> None:
    report.write(clone / documents.RESULTS / "load-open.json", OPEN)
    with pytest.raises(report.ReportError, match=r"docs/performance\.md"):
        documents.render(clone, check=True)
    documents.render(clone, check=False)
    documents.render(clone, check=True)


def test_loads_are_shown_with_their_plots_which_are_the_same_for_the_same_results(clone: Path) -> None:
    shown = committed(clone, load_open=OPEN, scaling=SCALING)
    plots = {path.name: path.read_bytes() for path in (clone / "docs" / "performance").iterdir()}
    assert set(plots) == {"latency.svg", "distribution.svg", "scaling.svg"}
    assert all(f"](performance/{name})" in shown for name in plots)
    committed(clone)
    assert {path.name: path.read_bytes() for path in (clone / "docs" / "performance").iterdir()} == plots


def test_a_result_that_is_gone_is_not_measured_yet(clone: Path) -> None:
    assert "| vllm, ws |" in committed(clone, chat=chat(overhead_ms=[7.0], classify_ms=6.0))
    (clone / documents.RESULTS / "chat.json").unlink()
    shown = committed(clone)
    assert "<!-- chat-times -->\nNot measured yet.\n<!-- /chat-times -->" in shown


def test_a_load_has_a_row_for_each_level_and_the_throughput_within_the_objective() -> None:
    lines = load_table(OPEN).splitlines()
    assert lines[2] == "| server | synthetic | 1 | 25 | 25 | 1.00 (1.00 to 1.00) | 5.0 | 9.0 | 9.9 | 10.0 | 0 | 1.50 | 200 | 25% | - | - |"
    assert len([line for line in lines if line.startswith("| triton")]) == 2
    within = next(line for line in lines if line.startswith("Most texts/s"))
    assert within.endswith("within 50 ms and no error: server, synthetic, 1 a request: 50; the others: none of these levels.")


def test_a_level_in_which_nothing_was_answered_says_so() -> None:
    table = load_table(load("closed", "clients", ("server", "synthetic", 1, 4, [Round(0, 5.0, [], errors=9)])))
    assert "| no answer | no answer | no answer | no answer | 9 |" in table


def test_the_classifiers_rows_are_those_of_a_result_and_the_others_are_not_measured_yet() -> None:
    content = classifier(offline=rounds([100, 100]), http_bulk=rounds([90, 80]), http_idle=rounds([10, 10]))
    short, long = classifier_table(content), latency_table(content)
    assert "| server, 64 texts a request, 4 clients | 85 | 0.85 (0.80 to 0.90) | 5.0 | 9.9 |" in short
    assert "| infinity-emb, 1 text a request, 1 client | not measured yet |" in short
    assert "open loop" not in short
    assert "nothing else | - | - | 5.0 | 9.0 | 9.9 | 10.0 | 200 | 0 | 1.50 | 200 | 25% | - | - |" in long


def test_a_chat_shows_what_the_server_adds() -> None:
    lines = chat_table(chat(overhead_ms=[7.0, None, 9.0], classify_ms=6.0)).splitlines()
    assert lines[2] == "| engine alone | 20.0 | 21.0 | 22.0 | 23.0 | - | - | 20.0 | 22.0 | 20.0 | 0 |"
    assert lines[3] == "| vllm, ws | 20.0 | 21.0 | 22.0 | 23.0 | 8.0 (7.0 to 9.0) | 5.0 (5.0 to 5.0) | 20.0 | 22.0 | 20.0 | 0 |"
