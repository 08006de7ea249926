"""Whether a reply's feeling fits the message's: by the words alone, and with the committed classifier."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from empathetic_server.emotions import VALENCE, EmotionReading, read_emotions
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.metrics import Metrics
from empathetic_server.reply_tone import is_cheerful, is_sympathetic, jars, mood_of
from empathetic_server.written_lines import ACKNOWLEDGEMENTS, FAMILY, MOVES

from tests.conftest import ROOT
from tests.server.reply_tone_rows import FRESH, HELD_OUT, TUNED, Row

pytestmark = pytest.mark.anyio
# Cheer needs a message that is happy: a neutral one gets a sober reply, which HELD_OUT would not have asked for.
TOO_SOBER = "I moved to a new town in May."


def verdict(row: Row, reply: EmotionReading | None, message: EmotionReading | None = None) -> str:
    given = {"valence": VALENCE[row.emotion], "confident": True} if message is None else message.as_dict()
    return jars(row.reply, reply, mood_of(row.message, given)) or "kept"


async def read(texts: Sequence[str]) -> list[EmotionReading]:
    """Read texts with the committed model."""
    manifest = read_manifest(ROOT / "model_repository")
    engine = EmbeddedClassifier(manifest, threads=1, max_batch_tokens=512, max_queued_texts=1000, metrics=Metrics())
    await engine.open()
    found = await engine.classify(texts, priority="bulk", timeout_s=60)
    await engine.aclose()
    return [read_emotions(row, engine.labels, engine.thresholds) for row in found.probabilities.tolist()]


@pytest.mark.parametrize("row", [*TUNED, *HELD_OUT], ids=lambda row: row.reply)
def test_the_words_alone_tell_it(row: Row) -> None:
    assert verdict(row, None) == ("cheerful" if row.message == TOO_SOBER and is_cheerful(row.reply) else row.verdict)


async def test_the_emotions_of_replies_drop_none_that_the_words_keep() -> None:
    rows = [*TUNED, *HELD_OUT]
    readings = await read([row.reply for row in rows])
    assert [row for row, reply in zip(rows, readings, strict=True) if verdict(row, reply) != verdict(row, None)] == []


async def test_with_the_committed_classifier_for_messages_too_cheer_reaches_what_it_takes_for_joy_alone() -> None:
    rows = [*TUNED, *HELD_OUT]
    messages, replies = await read([row.message for row in rows]), await read([row.reply for row in rows])
    read_rows = list(zip(rows, messages, replies, strict=True))
    slipped = [(row, message) for row, message, reply in read_rows if row.verdict == "cheerful" and verdict(row, reply, message) == "kept"]
    assert [(row.message, message.primary) for row, message in slipped] == [("The neighbours' party kept me up all night.", "joy")]


async def test_the_fresh_rows_were_measured_and_are_not_judged_worse() -> None:
    """Four of its eight cheerful replies slip through: the lists catch what is usual, and are no proof against the rest."""
    messages, replies = await read([row.message for row in FRESH]), await read([row.reply for row in FRESH])
    by_words = [row for row in FRESH if verdict(row, None) == row.verdict]
    served = [row for row, message, reply in zip(FRESH, messages, replies, strict=True) if verdict(row, reply, message) == row.verdict]
    assert (len(by_words), len(served)) == (15, 16)


def test_no_written_line_for_a_message_that_is_not_joyful_would_be_dropped() -> None:
    lines = [line for group, family in FAMILY.items() if family != "joyful" for line in ACKNOWLEDGEMENTS[group]]
    lines += [line for moves in MOVES.values() for family, said in moves.items() if family != "joyful" for line in said]
    assert len(lines) > 50
    assert [line for line in lines if jars(line, None, "painful")] == []


@pytest.mark.parametrize(
    ("message", "emotion", "mood"),
    [
        ("I loved him, and he died.", "love", "painful"),
        ("My cancer is in remission!", "joy", "happy"),
        ("We won the quiz.", "neutral", "happy"),
        ("I passed, but nobody cares.", "neutral", "open"),
        ("I went to the market.", "neutral", "open"),
        ("It rains again.", "annoyance", "painful"),
        ("My ex got engaged.", "neutral", "open"),
    ],
)
def test_what_happened_counts_beside_what_the_classifier_finds(message: str, emotion: str, mood: str) -> None:
    assert mood_of(message, {"valence": VALENCE[emotion], "confident": True}) == mood


def test_without_a_classifier_cheer_needs_good_news_in_words() -> None:
    assert mood_of("I'm fine", None) == "open"
    assert jars("That's awesome!", None, mood_of("I'm fine", None)) == "cheerful"
    assert jars("That's awesome!", None, mood_of("We got engaged", None)) is None


def test_a_typed_apostrophe_and_capitals_make_no_difference() -> None:
    assert jars("THAT\u2019S  AWESOME", None, "painful") == "cheerful"
    assert is_sympathetic("I\u2019m Sorry")
