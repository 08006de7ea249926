"""What every `EmotionClassifier` must do; the fake has to pass what the real engines pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.protocols import EmotionClassifier
from empathetic_server.errors import BackendUnavailable

from tests.server.conftest import FakeClassifier, engine_arguments

pytestmark = pytest.mark.anyio
TEXTS = ("w1", "w2 w3 w4", "w5 " * 20, "w6 w7", "nothing known")


@pytest.fixture(params=["fake", "embedded"])
async def engine(request: pytest.FixtureRequest, repository: Path) -> AsyncIterator[EmotionClassifier]:
    built: EmotionClassifier = FakeClassifier() if request.param == "fake" else EmbeddedClassifier(**engine_arguments(repository))
    yield built
    await built.aclose()


async def test_each_text_has_a_row_of_probabilities_in_order(engine: EmotionClassifier) -> None:
    together = await engine.classify(TEXTS, priority="bulk", timeout_s=20)
    assert together.probabilities.shape == (len(TEXTS), len(engine.labels))
    assert ((together.probabilities >= 0) & (together.probabilities <= 1)).all()
    assert len(together.tokens) == len(together.truncated) == len(TEXTS)
    for row, text in zip(together.probabilities, TEXTS, strict=True):
        alone = await engine.classify([text], priority="interactive", timeout_s=20)
        np.testing.assert_allclose(alone.probabilities[0], row, atol=1e-4)


async def test_labels_and_thresholds_belong_together(engine: EmotionClassifier) -> None:
    assert len(set(engine.labels)) == len(engine.labels) == len(engine.thresholds)
    assert all(0 <= threshold <= 1 for threshold in engine.thresholds)


async def test_times_are_told(engine: EmotionClassifier) -> None:
    found = await engine.classify(TEXTS, priority="bulk", timeout_s=20)
    assert min(found.tokenize_ms, found.queue_ms, found.compute_ms) >= 0


async def test_a_closed_engine_is_not_ready_and_refuses(engine: EmotionClassifier) -> None:
    assert engine.ready()
    await engine.aclose()
    await engine.aclose()
    assert not engine.ready()
    with pytest.raises(BackendUnavailable):
        await engine.classify(TEXTS, priority="bulk", timeout_s=20)
