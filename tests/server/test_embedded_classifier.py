from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.errors import BackendUnavailable, DeadlineExceeded, InternalError, Overloaded
from empathetic_server.metrics import Metrics

from tests.server.conftest import GatedClassifier, engine_arguments
from tests.server.tiny_artifact import MAX_LENGTH, WORDS

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[1, 2, 3])
async def engine(repository: Path, request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedClassifier]:
    classifier = EmbeddedClassifier(**engine_arguments(repository, threads=request.param))
    yield classifier
    await classifier.aclose()


@pytest.fixture
async def gated(repository: Path) -> AsyncIterator[GatedClassifier]:
    classifier = GatedClassifier(**engine_arguments(repository, max_queued_texts=4))
    yield classifier
    await classifier.aclose()


async def ask(engine: EmbeddedClassifier, *texts: str, **changes: Any) -> Any:
    return await engine.classify(texts, **{"priority": "bulk", "timeout_s": 20, **changes})


async def test_a_text_scores_the_same_alone_and_among_others(engine: EmbeddedClassifier) -> None:
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(WORDS, size=length)) for length in generator.integers(1, 40, size=64)]
    together = (await ask(engine, *texts)).probabilities
    alone = np.concatenate([(await ask(engine, text)).probabilities for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


async def test_concurrent_requests_get_their_own_answers(engine: EmbeddedClassifier) -> None:
    expected = [(await ask(engine, word)).probabilities for word in WORDS[:30]]
    found = await asyncio.gather(*(ask(engine, word) for word in WORDS[:30]))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other.probabilities, atol=1e-6)


async def test_a_text_beyond_the_window_is_cut_and_said_to_be(engine: EmbeddedClassifier) -> None:
    window = " ".join([WORDS[1]] * (MAX_LENGTH - 2))
    found = await ask(engine, window, f"{window} {WORDS[2]}", "x" * 200_000)
    assert found.truncated == (False, True, False)
    assert found.tokens == (MAX_LENGTH, MAX_LENGTH, 3)
    np.testing.assert_allclose(found.probabilities[0], found.probabilities[1], atol=1e-6)


@pytest.mark.parametrize("bad", ["poison", "crash"], ids=["a-text-without-finite-scores", "a-text-that-the-runtime-refuses"])
async def test_one_poisoned_text_fails_alone(gated: GatedClassifier, bad: str) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    others = [asyncio.create_task(ask(gated, text)) for text in (WORDS[1], f"{WORDS[2]} {bad}", WORDS[3])]
    await gated.has_waiting(3)  # so that one batch holds all three
    gated.gate.set()
    good, broken, fine, _ = await asyncio.gather(*others, first, return_exceptions=True)
    assert isinstance(broken, InternalError)
    assert np.isfinite(good.probabilities).all()
    assert np.isfinite(fine.probabilities).all()
    assert gated.shapes[1][0] == 3


async def test_a_failure_names_the_text_by_its_index(engine: EmbeddedClassifier) -> None:
    with pytest.raises(InternalError, match=r"input\[1\]"):
        await ask(engine, WORDS[0], "crash")


async def test_a_full_queue_refuses_and_the_admitted_are_still_answered(gated: GatedClassifier) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    waiting = asyncio.create_task(ask(gated, *WORDS[:4]))
    await gated.has_waiting(4)
    with pytest.raises(Overloaded) as refusal:
        await ask(gated, WORDS[5])
    assert refusal.value.retry_after_s is not None
    gated.gate.set()
    assert len((await waiting).tokens) == 4
    await first


async def test_a_late_request_is_told_so_and_never_computed(gated: GatedClassifier) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    with pytest.raises(DeadlineExceeded):
        await ask(gated, WORDS[1], timeout_s=0.05)
    gated.gate.set()
    await first
    await ask(gated, f"{WORDS[2]} {WORDS[3]}")
    assert gated.shapes == [(1, 3), (1, 4)]


async def test_a_cancelled_request_is_never_computed(gated: GatedClassifier) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    leaving = asyncio.create_task(ask(gated, WORDS[1]))
    await gated.has_waiting(1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gated.gate.set()
    await first
    await ask(gated, f"{WORDS[2]} {WORDS[3]}")
    assert gated.shapes == [(1, 3), (1, 4)]


async def test_interactive_texts_overtake_waiting_bulk(gated: GatedClassifier) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    bulk = asyncio.create_task(ask(gated, f"{WORDS[1]} {WORDS[2]}"))
    await gated.has_waiting(1)
    chat = asyncio.create_task(ask(gated, f"{WORDS[1]} {WORDS[2]} {WORDS[3]}", priority="interactive"))
    await gated.has_waiting(2)
    gated.gate.set()
    await asyncio.gather(first, bulk, chat)
    assert gated.shapes == [(1, 3), (1, 5), (1, 4)]


async def test_a_batch_that_is_alone_gets_two_cores(repository: Path) -> None:
    engine = GatedClassifier(**engine_arguments(repository, threads=2))
    first = asyncio.create_task(ask(engine, "a"))
    await engine.computing_now()
    engine.computing.clear()
    second = asyncio.create_task(ask(engine, "b"))
    await engine.computing_now()
    engine.gate.set()
    await asyncio.gather(first, second)
    await ask(engine, "c")
    assert engine.cores == [2, 1, 2]
    await engine.aclose()


async def test_batches_of_one_request_share_the_cores(repository: Path) -> None:
    engine = GatedClassifier(**engine_arguments(repository, threads=2, max_batch_tokens=6))
    both = asyncio.create_task(ask(engine, "a", "b", "c", "d"))
    await engine.computing_now()
    engine.gate.set()
    await both
    assert len(engine.cores) == 2
    assert engine.cores[0] == 1
    await engine.aclose()


async def test_closing_refuses_what_waits_and_what_comes(gated: GatedClassifier) -> None:
    first = asyncio.create_task(ask(gated, WORDS[0]))
    await gated.computing_now()
    waiting = asyncio.create_task(ask(gated, WORDS[1]))
    await gated.has_waiting(1)
    await gated.aclose()
    with pytest.raises(BackendUnavailable):
        await waiting
    with pytest.raises(BackendUnavailable):
        await ask(gated, WORDS[2])
    assert len((await first).tokens) == 1
    assert not gated.ready()


async def test_stage_times_and_batches_are_recorded(repository: Path) -> None:
    metrics = Metrics()
    engine = EmbeddedClassifier(**engine_arguments(repository, metrics=metrics))
    found = await ask(engine, "w1", "w1 w2 w3")
    await engine.aclose()
    sample = metrics.registry.get_sample_value
    for stage in ("tokenize", "queue", "batch", "compute"):
        assert sample("empathetic_stage_seconds_count", {"stage": stage}) == 1
    assert sample("empathetic_classified_texts_total") == 2
    assert sample("empathetic_batch_texts_sum") == 2
    assert sample("empathetic_batch_padding_ratio_sum") == pytest.approx(2 / 10)  # 3 and 5 tokens in rows of 5
    assert found.tokenize_ms > 0
    assert found.compute_ms > 0
