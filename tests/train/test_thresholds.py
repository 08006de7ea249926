from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from empathetic_train.errors import CheckpointError
from empathetic_train.metrics import f1_scores
from empathetic_train.thresholds import HIGHEST, LOWEST, Thresholds, decide_held_out, fit, read_thresholds, thresholds_json
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Scored = tuple[NDArray[np.float64], NDArray[np.int64]]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    texts, labels = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (generator.random((texts, labels)) < draw(st.floats(0, 1))).astype(np.int64)
    return np.round(np.clip(generator.random((texts, labels)) * 0.7 + 0.3 * targets, 0, 1), draw(st.integers(1, 4))), targets


def label_f1(probabilities: NDArray[np.float64], targets: NDArray[np.int64], threshold: float) -> float:
    return f1_scores((probabilities >= threshold)[:, None], targets[:, None])[0]


@given(scored())
@settings(deadline=None)
def test_thresholds_stay_in_their_range(case: Scored) -> None:
    fitted = fit(*case)
    assert fitted.per_label.shape == (case[1].shape[1],)
    assert np.all((fitted.per_label >= LOWEST) & (fitted.per_label <= HIGHEST))
    assert LOWEST <= fitted.single <= HIGHEST


@given(scored())
@settings(deadline=None)
def test_without_a_prior_no_threshold_of_the_grid_is_better(case: Scored) -> None:
    probabilities, targets = case
    grid = np.round(np.arange(LOWEST, HIGHEST + 1e-9, 0.01), 2)
    for column, chosen in enumerate(fit(probabilities, targets, prior=0).per_label):
        best = max(label_f1(probabilities[:, column], targets[:, column], limit) for limit in grid)
        assert label_f1(probabilities[:, column], targets[:, column], chosen) == pytest.approx(best)


@given(scored())
@settings(deadline=None)
def test_no_single_threshold_of_the_grid_is_better(case: Scored) -> None:
    probabilities, targets = case
    fitted = fit(probabilities, targets)
    best = max(f1_scores(probabilities >= limit, targets)[0] for limit in np.round(np.arange(LOWEST, HIGHEST + 1e-9, 0.01), 2))
    assert f1_scores(probabilities >= fitted.single, targets)[0] == pytest.approx(best)


@given(scored(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_texts_does_not_matter(case: Scored, shuffler: object) -> None:
    probabilities, targets = case
    order = list(range(len(targets)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    assert np.array_equal(fit(probabilities, targets).per_label, fit(probabilities[order], targets[order]).per_label)


def test_a_strong_prior_pulls_every_label_to_the_pooled_best() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((200, 4)) < [0.5, 0.4, 0.3, 0.01]).astype(int)
    probabilities = np.clip(0.6 * targets + 0.5 * generator.random((200, 4)), 0, 1)
    pulled = fit(probabilities, targets, prior=1e9).per_label
    assert np.ptp(pulled) == 0


def test_the_middle_of_a_plateau_is_chosen() -> None:
    probabilities, targets = np.array([[0.2], [0.8]]), np.array([[0], [1]])
    assert fit(probabilities, targets, prior=0).per_label[0] == pytest.approx(0.5, abs=0.011)


def test_held_out_decisions_ignore_the_texts_own_fold() -> None:
    generator = np.random.default_rng(1)
    targets = (generator.random((50, 3)) < 0.3).astype(int)
    probabilities = generator.random((50, 3))
    changed = targets.copy()
    changed[::5] = 1 - changed[::5]  # fold 0's own labels
    assert np.array_equal(decide_held_out(probabilities, targets)[::5], decide_held_out(probabilities, changed)[::5])


@pytest.mark.parametrize("texts", [2, 3, 5, 6])
def test_held_out_decisions_exist_for_few_texts(texts: int) -> None:
    targets = np.eye(texts, dtype=int)
    assert decide_held_out(np.eye(texts), targets).shape == (texts, texts)


def test_thresholds_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps(thresholds_json(Thresholds(np.array([0.25, 0.5]), 0.35), ["anger", "joy"], 0.5)))
    assert json.loads(path.read_text()) == {"per_label": {"anger": 0.25, "joy": 0.5}, "single": 0.35, "fixed": 0.5}
    assert read_thresholds(path, ["joy", "anger"]).per_label.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("content", ["{}", '{"per_label": {"joy": 0.5}}', '{"per_label": {"joy": null}, "single": 1}', "[", "[]"])
def test_a_wrong_file_of_thresholds_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"thresholds\.json"):
        read_thresholds(path, ["joy"])
