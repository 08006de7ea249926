"""What the responder is trained on, beside what the server sends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

from empathetic_server.emotions import VALENCE, read_emotions
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.metrics import Metrics
from empathetic_server.special_tokens import neutralize
from empathetic_server.strategies import Strategy
from empathetic_server.trajectory import Stage, Turn, follow
from empathetic_train.responder.chat import SPECIAL_TOKENS
from empathetic_train.responder.feelings import find_feelings
from empathetic_train.responder.notes import NEUTRAL, stage_of
from empathetic_train.responder.strategies import SENT

REPOSITORY = Path(__file__).parents[2] / "model_repository"
TEXTS = ("Thank you for the goat.", "Why did the kite fall?", "I miss the old ferry so much.", "ok", "What a wonderful, terrible day!", "")


def test_strategies_and_stages_are_the_servers() -> None:
    assert get_args(Strategy) == SENT
    for messages in range(1, 8):
        assert follow([Turn(str(number), None, None) for number in range(messages)]).stage == stage_of(messages)
    assert {stage_of(messages) for messages in range(1, 8)} == set(get_args(Stage))
    assert NEUTRAL in VALENCE


def test_nobody_can_write_a_special_token() -> None:
    for token in SPECIAL_TOKENS:
        assert token not in neutralize(f"{token} x {token}{token}")


def test_feelings_are_those_that_the_server_finds(tmp_path: Path) -> None:
    found = find_feelings(TEXTS, classifier=REPOSITORY / "emotion_classifier", cache=tmp_path, threads=1)

    async def classify() -> list[tuple[tuple[str, ...], bool]]:
        engine = EmbeddedClassifier(read_manifest(REPOSITORY), threads=1, max_batch_tokens=1024, max_queued_texts=100, metrics=Metrics())
        await engine.open()
        try:
            scored = await engine.classify(TEXTS, priority="bulk", timeout_s=60)
        finally:
            await engine.aclose()
        readings = [read_emotions(row.tolist(), engine.labels, engine.thresholds) for row in scored.probabilities]
        return [(tuple(emotion.label for emotion in reading.emotions), reading.confident) for reading in readings]

    served = asyncio.run(classify())
    assert [(found[text].labels, found[text].confident) for text in TEXTS] == served
