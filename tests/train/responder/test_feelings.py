from __future__ import annotations

from pathlib import Path

import pytest
from empathetic_train.errors import CheckpointError
from empathetic_train.responder.feelings import find_feelings

from tests.train.responder.conftest import ROOT

CLASSIFIER = ROOT / "model_repository" / "emotion_classifier"
TEXTS = ["Thank you so much for the goat!", "I am so sad that the kite is gone.", "Thank you so much for the goat!", "", "a " * 500]


def test_feelings_are_found_once_and_kept(tmp_path: Path) -> None:
    found = find_feelings(TEXTS, classifier=CLASSIFIER, cache=tmp_path, threads=1)
    assert found[TEXTS[0]].labels[0] == "gratitude"
    assert "sadness" in found[TEXTS[1]].labels
    assert found[TEXTS[0]].confident
    assert len(found) == 4
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    assert find_feelings(TEXTS, classifier=CLASSIFIER, cache=tmp_path) == found
    assert kept.stat().st_mtime_ns == written


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    found = find_feelings(TEXTS, classifier=CLASSIFIER, cache=tmp_path, threads=1)
    (kept,) = tmp_path.iterdir()
    kept.write_text("[[1, ")
    assert find_feelings(TEXTS, classifier=CLASSIFIER, cache=tmp_path, threads=1) == found


def test_a_missing_classifier_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not an exported classifier"):
        find_feelings(TEXTS, classifier=tmp_path, cache=tmp_path)
