"""The learned score: what it reads, what it may raise, and which files it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from empathetic_server.engines.crisis_head import read_crisis_head
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.errors import ArtifactError, BackendUnavailable
from empathetic_server.safety import CrisisHead, Level, Statement, assess, find_danger, read
from empathetic_server.safety.rules import LEVELS
from empathetic_server.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.server.chatting import FakeGenerator, running
from tests.server.conftest import FakeClassifier
from tests.server.test_safety import table
from tests.server.tiny_artifact import HIDDEN, build_artifact

HOPELESS = "I feel so hopeless"
DENIED = "I would never kill myself"
CALM = "We had soup for dinner"
# The fake classifier's embedding is the length of the text, in thousands of characters.
LOUD = CrisisHead(weights=(0.0,), bias=9.0, concern=0.5, high=0.9)


@pytest.mark.parametrize(
    ("text", "learned", "level"),
    [
        pytest.param(CALM, "none", "none", id="nothing"),
        pytest.param(CALM, "concern", "concern", id="the score alone"),
        pytest.param(CALM, "high", "concern", id="the score alone, sure"),
        pytest.param(HOPELESS, "concern", "concern", id="both see concern"),
        pytest.param(HOPELESS, "high", "high", id="concern and a sure score"),
        pytest.param(DENIED, "high", "none", id="denied"),
        pytest.param("My brother killed himself five years ago", "high", "none", id="of the dead"),
        pytest.param("I want to kill myself", "none", "high", id="the rules are sure"),
    ],
)
def test_what_the_score_may_raise(text: str, learned: Level, level: Level) -> None:
    found = assess(read([Statement(text)]), "us", learned=learned)
    assert found.level == level
    assert (found.reply is not None) == (level == "high")
    assert bool(found.resources) == (level != "none")


@pytest.mark.parametrize("learned", LEVELS)
def test_the_score_lowers_nothing(learned: Level) -> None:
    for _, _, text in table("tuning.tsv"):
        assert LEVELS.index(assess(read([Statement(text)]), "us", learned=learned).level) >= LEVELS.index(find_danger(text).level)


def test_what_the_score_raised_to_high_decays_like_any_other() -> None:
    def after(*said: Statement) -> str:
        return assess(read([*said, Statement("ok")]), "us").level

    assert after(Statement(HOPELESS, "high")) == "concern"
    assert after(Statement(HOPELESS, "concern")) == "none"
    assert after(Statement(HOPELESS, "high"), *[Statement(CALM, "concern")] * 3) == "none"


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
def test_a_probability_is_one(embedding: list[float]) -> None:
    head = CrisisHead(weights=(1.0, -2.0, 0.5), bias=-1.0, concern=0.3, high=0.6)
    logit = embedding[0] - 2 * embedding[1] + 0.5 * embedding[2] - 1
    assert 0 <= head.probability(embedding) <= 1
    if abs(logit) < 500:
        assert head.probability(embedding) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)


def test_an_embedding_of_another_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 numbers, not of 1"):
        LOUD.probability([0.1, 0.2])


def write_head(repository: Path, **changes: Any) -> None:
    manifest = read_manifest(repository)
    head = {
        "schema_version": 1,
        "model_sha256": manifest.model_sha256,
        "concern_threshold": 0.4,
        "high_threshold": 0.6,
        "bias": -1.0,
        "weights": [0.1] * HIDDEN,
    }
    content = {key: value for key, value in {**head, **changes}.items() if value is not None}
    (manifest.directory / "crisis_head.json").write_text(json.dumps(content))


def test_a_head_is_read(tmp_path: Path) -> None:
    repository = build_artifact(tmp_path)
    assert read_crisis_head(read_manifest(repository)) is None
    write_head(repository)
    assert read_crisis_head(read_manifest(repository)) == CrisisHead((0.1,) * HIDDEN, -1.0, 0.4, 0.6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_sha256": "0" * 64}, "trained on another model"),
        ({"schema_version": 2}, "schema version 2, this server reads 1"),
        ({"weights": [0.1]}, f"1 weights for {HIDDEN} numbers"),
        ({"weights": [math.nan] * HIDDEN}, "must be finite"),
        ({"concern_threshold": 0.7}, "concern_threshold <= high_threshold"),
        ({"high_threshold": 1.5}, "concern_threshold <= high_threshold"),
        ({"bias": "much"}, "not a crisis head"),
        ({"bias": None}, "not a crisis head"),
    ],
)
def test_a_wrong_head_is_refused_and_said_what_to_do(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    repository = build_artifact(tmp_path)
    write_head(repository, **changes)
    with pytest.raises(ArtifactError, match=complaint) as caught:
        read_crisis_head(read_manifest(repository))
    assert "empathetic-train crisis" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "level", "reason"),
    [
        pytest.param(CALM, "concern", "stop", id="raised"),
        pytest.param(HOPELESS, "high", "crisis", id="high"),
        pytest.param(DENIED, "none", "stop", id="denied"),
    ],
)
async def test_the_score_reaches_the_person(text: str, level: str, reason: str) -> None:
    generator = FakeGenerator()
    async with running(classifier=FakeClassifier(), crisis_head=LOUD, generators=[generator]) as at:
        answer = (await at.http.post("/v1/chat", json={"message": text})).json()
    assert (answer["safety"]["level"], answer["finish_reason"]) == (level, reason)
    assert answer["emotion"] is not None
    assert len(generator.asked) == (reason == "stop")


@pytest.mark.anyio
async def test_without_a_classifier_the_rules_stand_alone() -> None:
    async with running(classifier=FakeClassifier(BackendUnavailable("down")), crisis_head=LOUD, generators=[FakeGenerator()]) as at:
        answer = (await at.http.post("/v1/chat", json={"message": HOPELESS})).json()
    assert (answer["safety"]["level"], answer["emotion"]) == ("concern", None)


@pytest.mark.anyio
async def test_the_committed_head_hears_what_no_rule_says() -> None:
    said = "every night I lie there and beg for my heart to stop beating"
    assert find_danger(said).level == "none"
    settings = Settings(port=0, page=False, sessions="memory://", model_repository=ROOT / "model_repository", generator="written")
    async with running(classifier=None, settings=settings) as at:
        raised = (await at.http.post("/v1/chat", json={"message": said})).json()
        calm = (await at.http.post("/v1/chat", json={"message": CALM})).json()
    assert (raised["safety"]["level"], calm["safety"]["level"]) == ("concern", "none")
    assert raised["safety"]["resources"]
