from __future__ import annotations

import pytest
from empathetic_bench.samples import Round, percentile, ratios, summarize
from hypothesis import given
from hypothesis import strategies as st


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 99) == 4.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_leaves_its_share_at_or_below(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-9


def test_a_summary_takes_the_median_round_and_all_calls() -> None:
    rounds = [Round(10, 1.0, [1.0, 2.0]), Round(10, 2.0, [3.0, 4.0], errors=1), Round(10, 0.5, [5.0, 6.0])]
    summary = summarize(rounds)
    assert (summary["texts_per_s"], summary["texts_per_s_min"], summary["texts_per_s_max"]) == (10.0, 5.0, 20.0)
    assert (summary["p50_ms"], summary["p99_ms"], summary["calls"], summary["errors"]) == (3.0, 6.0, 6, 1)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([Round(10, 1.0, []), Round(10, 2.0, [])], [Round(10, 2.0, []), Round(10, 2.0, [])]) == [2.0, 1.0]


def test_a_round_survives_its_file() -> None:
    one = Round(3, 0.25, [1.25, 2.5], 1)
    assert Round(**one.as_dict()) == one
