"""What every `EmotionClassifier` must do; the fake has to pass what the real engines pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.engines.protocols import EmotionClassifier
from empathetic_server.engines.triton_classifier import TritonClassifier
from empathetic_server.errors import BackendUnavailable
from empathetic_server.metrics import Metrics

from tests.server.conftest import FakeClassifier, engine_arguments
from tests.tritons import Triton, one_loop, tiny_repository, tritonserver  # noqa: F401  # a fixture

pytestmark = pytest.mark.anyio
TEXTS = ("w1", "w2 w3 w4", "w5 " * 20, "w6 w7", "nothing known")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A real Triton on the artifact that the embedded engine loads."""
    with tritonserver(tiny_repository(tmp_path_factory.mktemp("triton")), tmp_path_factory.mktemp("log") / "triton.log") as started:
        yield started


@pytest.fixture(params=["fake", "embedded", pytest.param("triton", marks=pytest.mark.slow)])
async def engine(request: pytest.FixtureRequest, repository: Path) -> AsyncIterator[EmotionClassifier]:
    built: EmotionClassifier
    if request.param == "fake":
        built = FakeClassifier()
    elif request.param == "embedded":
        built = EmbeddedClassifier(**engine_arguments(repository))
    else:
        addresses = [request.getfixturevalue("triton").grpc]
        built = TritonClassifier(
            read_manifest(repository), addresses=addresses, max_batch_tokens=256, max_queued_texts=100, metrics=Metrics()
        )
    await built.open()
    assert built.name == request.param
    assert built.model_version
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
