"""The targets against results: met, missed and not measured."""

from __future__ import annotations

from typing import Any

import pytest
from empathetic_bench.performance import GOALS, target_table

from tests.benchmarks.committed import chat, classifier, rounds


def rows(**results: dict[str, Any]) -> dict[str, list[str]]:
    """The table's cells by what is asked for."""
    lines = target_table(results).splitlines()[2 : 2 + len(GOALS)]
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def test_a_target_without_a_result_is_not_measured_yet() -> None:
    found = rows()
    assert len(found) == len(GOALS)
    assert all(measured == "not measured yet" and not gap for _, measured, gap in found.values())


def test_a_target_that_is_met_has_no_gap() -> None:
    found = rows(classifier=classifier(offline=rounds([100, 200, 100]), http_bulk=rounds([95, 180, 96])))
    assert found["`POST /v1/emotions`, 64 texts a request, 4 clients, of the ceiling"] == ["≥ 0.90", "0.95 (0.90 to 0.96)", "none"]


def test_a_target_that_is_missed_says_by_how_much() -> None:
    measured = classifier(
        offline=rounds([100, 100]),
        offline_one=rounds([50, 50], latency_ms=4.0),
        http_one=rounds([20, 20], latency_ms=8.0),
        http_many=rounds([50, 60], errors=1),
    )
    found = rows(classifier=measured)
    assert found["one text, one client: p50 beyond the bare model call"] == ["≤ 1.50 ms", "2.00 ms (2.00 ms to 2.00 ms)", "0.50 ms over"]
    assert found["one text a request, 64 clients, of the ceiling"] == ["≥ 0.75", "0.55 (0.50 to 0.60)", "0.20 short"]
    assert found["the same: errors"] == ["≤ 0", "1 (1 to 1)", "1 over"]
    assert found["throughput against infinity-emb"][1] == "not measured yet"


def test_peers_are_compared_round_by_round() -> None:
    measured = classifier(
        offline=rounds([100, 100, 100]),
        http_bulk=rounds([80, 40, 60]),
        infinity_bulk=rounds([20, 10, 10]),
        http_one=rounds([20] * 3, latency_ms=5.0),
        infinity_one=rounds([10] * 3, latency_ms=50.0),
        http_idle=rounds([10] * 3, latency_ms=10.0),
        http_under_bulk=rounds([10] * 3, latency_ms=50.0),
    )
    found = rows(classifier=measured)
    assert found["throughput against infinity-emb"] == ["≥ 3.50 x", "4.00 x (4.00 x to 6.00 x)", "none"]
    assert found["p50 of one text against infinity-emb"][1] == "0.10 x (0.10 x to 0.10 x)"
    assert found["interactive p99 while bulk saturates the engine, of its idle p99"][1:] == ["5.00 x (5.00 x to 5.00 x)", "2.00 x over"]


def test_the_classification_is_not_charged_to_a_chat() -> None:
    found = rows(chat=chat(overhead_ms=[7.0, 8.0, 9.0], classify_ms=6.0))
    assert found["chat: first piece beyond vLLM's own and the classification, p50"] == ["≤ 3.00 ms", "2.00 ms (1.00 ms to 3.00 ms)", "none"]


def test_what_words_wait_for_is_told_apart_from_what_the_server_adds() -> None:
    found = rows(chat=chat(overhead_ms=[7.0, 8.0, None], classify_ms=1.0))  # held for 5 ms
    assert found["the same, without the tokens for which the first words are held"][1] == "1.50 ms (1.00 ms to 2.00 ms)"


@pytest.mark.parametrize("sockets", [500, 6], ids=["as-the-target-says", "fewer"])
def test_sockets_count_only_when_as_many_were_open_as_the_target_says(sockets: int) -> None:
    content = {"commit": "abc", "sockets": sockets, "active": 50, "lost_frames": 0, "errors": 2, "loop_delay": {"within_20_ms": 0.999}}
    found = rows(sockets=content)["500 WebSockets, 50 active: lost frames and errors"]
    assert found[1:] == (["2", "2 over"] if sockets == 500 else ["not measured yet", ""])


def test_the_table_names_its_sources() -> None:
    assert "classifier.json (commit abc123)" in target_table({"classifier": classifier(offline=rounds([1.0]))})
