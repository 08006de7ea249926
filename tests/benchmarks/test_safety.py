from __future__ import annotations

import pytest
from empathetic_bench.safety import _count, table, wilson


def test_wilson_holds_for_none_and_all() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-3)  # Newcombe, 1998, table I


def test_counts_hold_rows_and_kinds_and_no_text() -> None:
    rows = [
        ("direct", "imminent", "canary one"),
        ("direct", "high", "canary two"),
        ("figurative", "none", "canary three"),
        ("passive", "concern", "x"),
    ]
    counted = _count(rows, ["high", "concern", "high", "imminent"])
    assert {kind: (count["right"], count["total"]) for kind, count in counted["kinds"].items()} == {
        "direct": (1, 2),
        "figurative": (0, 1),
        "passive": (1, 1),
    }
    assert [(error["row"], error["found"]) for error in counted["errors"]] == [(3, "concern"), (4, "high")]
    assert "canary" not in str(counted)
    shown = table(
        {
            "halves": {"locked": counted, "tuning": counted},
            "everyday": {"name": "E", "levels": {"none": 98, "high": 2}},
            "posts": {"1": {"high": 6, "concern": 2, "none": 2}, "0": {"none": 9, "imminent": 1}},
            "cost": {
                "messages": {"checks": 10, "mean_ms": 0.1234, "within_1_ms": 0.9, "within_5_ms": 1.0},
                "longest_messages": {"checks": 4, "mean_ms": 12.34, "within_1_ms": 0.0, "within_5_ms": 0.25},
            },
            "guard": {
                half: {
                    "kinds": {"means": {"right": right, "total": 2}, "harmless": {"right": 3, "total": 3}},
                    "errors": [{"row": 7, "kind": "means"}],
                }
                for half, right in (("locked", 1), ("tuning", 2))
            },
            "command": "c",
        }
    )
    assert "| figurative | no alarm | 0/1" in shown
    assert "2.00 %" in shown
    assert "of 10 labeled as suicidal, 60 % are at high or above and 80 % at concern or above; of 10 others, 10 %" in shown
    assert "mean 0.12 ms, 90.00% of 10 within 1 ms" in shown
    assert "mean 12.3 ms, 25% of 4 within 5 ms" in shown
    assert "| means | replaced | 1/2 (0.09 to 0.91) | 2/2" in shown
