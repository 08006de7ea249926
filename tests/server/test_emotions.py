from __future__ import annotations

import pytest
from empathetic_server.emotions import VALENCE, read_emotions
from hypothesis import given
from hypothesis import strategies as st

LABELS = ("joy", "sadness", "neutral")


def test_labels_at_or_above_their_threshold_are_returned_highest_first() -> None:
    reading = read_emotions([0.3, 0.8, 0.5], LABELS, [0.3, 0.9, 0.4])
    assert [(emotion.label, emotion.score) for emotion in reading.emotions] == [("neutral", 0.5), ("joy", 0.3)]
    assert reading.confident
    assert reading.primary == "neutral"


def test_best_label_alone_is_returned_when_none_reaches_its_threshold() -> None:
    reading = read_emotions([0.1, 0.2, 0.15], LABELS, [0.5] * 3)
    assert [emotion.label for emotion in reading.emotions] == ["sadness"]
    assert not reading.confident
    assert reading.valence == VALENCE["sadness"]


def test_valence_is_weighted_by_score_and_does_not_change_with_top_k() -> None:
    expected = (0.9 * VALENCE["joy"] + 0.3 * VALENCE["sadness"]) / 1.2
    for top_k in (1, None):
        assert read_emotions([0.9, 0.3, 0.0], LABELS, [0.2] * 3, top_k).valence == pytest.approx(expected)


def test_top_k_keeps_the_highest() -> None:
    assert [e.label for e in read_emotions([0.7, 0.9, 0.8], LABELS, [0.5] * 3, 2).emotions] == ["sadness", "neutral"]


def test_all_scores_zero_still_name_a_label() -> None:
    reading = read_emotions([0.0, 0.0, 0.0], LABELS, [0.5] * 3)
    assert (reading.primary, reading.valence, reading.confident) == ("joy", 0.0, False)


@given(st.lists(st.floats(0, 1), min_size=28, max_size=28), st.lists(st.floats(0, 1), min_size=28, max_size=28))
def test_any_scores_give_a_sound_reading(scores: list[float], thresholds: list[float]) -> None:
    labels = tuple(VALENCE)
    reading = read_emotions(scores, labels, thresholds)
    returned = [emotion.score for emotion in reading.emotions]
    passing = [score for score, threshold in zip(scores, thresholds, strict=True) if score >= threshold]
    assert returned == sorted(returned, reverse=True)
    assert sorted(returned) == (sorted(passing) or [max(scores)])
    assert reading.confident == bool(passing)
    assert -1 <= reading.valence <= 1
