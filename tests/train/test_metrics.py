from __future__ import annotations

import numpy as np
import pytest
from empathetic_train import metrics
from empathetic_train.evaluation import report
from empathetic_train.thresholds import Thresholds

# Three labels, four texts. Hits 2, 1, 0; decided 3, 1, 0; given 2, 2, 0.
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
DECISIONS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)


def test_scores_equal_those_computed_by_hand() -> None:
    assert metrics.scores(DECISIONS, TARGETS) == pytest.approx(
        {
            "exact_match": 3 / 4,
            "micro_precision": 3 / 4,
            "micro_recall": 3 / 4,
            "micro_f1": 3 / 4,
            "macro_precision": (2 / 3 + 1 + 0) / 3,
            "macro_recall": (1 + 1 / 2 + 0) / 3,
            "macro_f1": (4 / 5 + 2 / 3 + 0) / 3,
        }
    )


def test_f1_scores_agree_with_the_full_table() -> None:
    full = metrics.scores(DECISIONS, TARGETS)
    assert metrics.f1_scores(DECISIONS, TARGETS) == pytest.approx((full["micro_f1"], full["macro_f1"]))


def test_nothing_given_and_nothing_decided_counts_as_zero() -> None:
    empty = np.zeros((2, 2))
    assert metrics.f1_scores(empty.astype(bool), empty) == (0.0, 0.0)
    assert metrics.scores(empty.astype(bool), empty)["exact_match"] == 1.0


def test_sigmoid_does_not_overflow() -> None:
    assert metrics.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_confusion_needs_a_miss_and_a_wrong_decision_in_one_text() -> None:
    matrix = metrics.confusion(DECISIONS, TARGETS)
    assert matrix[1, 0] == 1  # the third text has label 1 and was given label 0 instead
    assert matrix.sum() == 1


def test_calibration_of_a_perfect_forecast_is_zero() -> None:
    stated = np.array([[0.25], [0.25], [0.25], [0.25]])
    observed = np.array([[1], [0], [0], [0]])
    assert metrics.calibration(stated, observed) == {
        "expected_calibration_error": 0.0,
        "bins": [{"low": 0.2, "high": 0.3, "pairs": 4, "probability": 0.25, "observed": 0.25}],
    }


def test_calibration_error_is_the_weighted_distance() -> None:
    stated = np.array([[0.9, 0.9, 0.9, 0.05]])
    assert metrics.calibration(stated, np.array([[1, 0, 0, 0]]))["expected_calibration_error"] == pytest.approx(
        0.75 * (0.9 - 1 / 3) + 0.25 * 0.05
    )


def test_certainty_falls_into_the_last_bin() -> None:
    assert metrics.calibration(np.array([[1.0]]), np.array([[1]]))["bins"][0]["high"] == 1.0


def test_the_interval_holds_the_score_and_narrows_with_more_texts() -> None:
    few = metrics.bootstrap_f1(np.tile(DECISIONS, (10, 1)), np.tile(TARGETS, (10, 1)))["micro_f1"]
    many = metrics.bootstrap_f1(np.tile(DECISIONS, (1000, 1)), np.tile(TARGETS, (1000, 1)))["micro_f1"]
    assert few[0] < many[0] < 0.75 < many[1] < few[1]


def test_the_bootstrap_equals_a_loop_over_draws() -> None:
    generator = np.random.default_rng(3)
    decisions, targets = generator.random((30, 4)) < 0.5, generator.random((30, 4)) < 0.5
    drawn = [metrics.f1_scores(decisions[rows], targets[rows]) for rows in np.random.default_rng(5).integers(30, size=(200, 30))]
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    assert metrics.bootstrap_f1(decisions, targets, resamples=200, seed=5) == {
        "micro_f1": pytest.approx((low[0], high[0])),
        "macro_f1": pytest.approx((low[1], high[1])),
    }


def test_a_label_missing_from_a_draw_does_not_lower_macro_f1() -> None:
    perfect = np.eye(8, dtype=bool)  # each label in one text: most draws lack some
    assert metrics.bootstrap_f1(perfect, perfect)["macro_f1"] == pytest.approx((1.0, 1.0))


def test_a_report_scores_each_rule_with_its_thresholds() -> None:
    probabilities = np.array([[0.9, 0.4], [0.6, 0.2], [0.1, 0.35]])
    targets = np.array([[1, 1], [0, 0], [0, 1]])
    made = report(probabilities, targets, thresholds=Thresholds(np.array([0.7, 0.3]), 0.5), fixed=0.05, labels=["anger", "joy"], seed=0)
    assert made["rules"]["per_label"]["micro_f1"] == 1.0
    assert made["rules"]["single"]["micro_f1"] == pytest.approx(2 * 1 / (2 + 3))
    assert made["rules"]["fixed"]["micro_recall"] == 1.0
    assert made["per_label"][1] == {
        "label": "joy",
        "support": 2,
        "threshold": 0.3,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "f1_single": 0.0,
        "f1_fixed": pytest.approx(0.8),
    }
    assert made["confusion"]["pairs"] == []
