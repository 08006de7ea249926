"""Replies of a small model that reads notes, as people meet them: several drafts, and the best that fits is shown."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from empathetic_server import drafts
from empathetic_server.emotions import EmotionGroup
from empathetic_server.engines.protocols import Chunk, Classification, GenerationRequest, Priority, PromptTooLong, Sampling
from empathetic_server.errors import BackendUnavailable
from empathetic_server.metrics import Metrics
from empathetic_server.sessions.protocols import Message
from empathetic_server.strategies import ReplyPlan
from empathetic_server.writing import Ending, ReplyWriter, WritingTask
from empathetic_server.written_lines import ACKNOWLEDGEMENTS

from tests.server.chatting import SPOKEN, FakeGenerator, Running, events, hello, running, said, send, until_type
from tests.server.conftest import FakeClassifier
from tests.server.tiny_artifact import LABELS

pytestmark = pytest.mark.anyio
SAD = "I feel sad, my kite is torn"
FELT = {"sad": "sadness", "sorry": "remorse", "confetti": "joy", "wonderful": "joy", "adore": "love"}
CONCERN = "I feel so hopeless"
GOOD = "I'm sorry about your kite. What happened to it?"
# How often a round of four given drafts is written.
ROUNDS = drafts._DRAFTS // 4
CHEERFUL = ("That is so sweet! What happened?", "Congratulations on your kite!", "Haha, that's hilarious.")


class Feelings(FakeClassifier):
    """Finds what a text says by its words."""

    def __init__(self, failing_after: int | None = None) -> None:
        super().__init__()
        self.failing_after = failing_after
        self.texts: list[Sequence[str]] = []

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        self.texts.append(texts)
        if self.failing_after is not None and len(self.texts) > self.failing_after:
            raise BackendUnavailable("down", retry_after_s=1)
        rows = np.zeros((len(texts), len(LABELS)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[LABELS.index("neutral")] = 0.6
            for word, label in FELT.items():
                if word in text.lower():
                    row[LABELS.index(label)] = 0.9
        return Classification(rows, np.zeros((len(texts), 1), np.float32), (3,) * len(texts), (False,) * len(texts), 0.1, 0.2, 0.3)


def small(*replies: str, **changes: Any) -> FakeGenerator:
    return FakeGenerator(drafts=replies, prompt_style="note", context_tokens=512, name="small", **changes)


async def say(at: Running, message: str, **fields: Any) -> dict[str, Any]:
    response = await at.http.post("/v1/chat", json={"message": message, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def metric(at: Running, name: str) -> dict[str, float]:
    """Return a metric's values by its labels."""
    body = (await at.http.get("/metrics")).text
    return {labels: float(value) for labels, value in re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", body, re.MULTILINE)}


async def test_of_several_drafts_the_one_that_fits_is_shown_word_by_word_and_stored() -> None:
    generator = small(CHEERFUL[0], CHEERFUL[1], GOOD, CHEERFUL[2])
    async with running(classifier=Feelings(), generators=[generator]) as at:
        frames = events((await at.http.post("/v1/chat", json={"message": SAD, "stream": True})).text)
        stored = (await at.http.get(f"/v1/sessions/{frames[0]['session_id']}")).json()["messages"]
        rejected = await metric(at, "empathetic_rejected_replies_total")
        replies = await metric(at, "empathetic_generator_replies_total")
    assert said(frames) == frames[-1]["reply"] == stored[1]["text"] == GOOD
    assert frames[-1]["finish_reason"] == "stop"
    assert [frame["text"] for frame in frames if frame["type"] == "delta"] == re.findall(r"\s*\S+", GOOD)
    assert rejected == {'reason="cheerful"': 3.0 * ROUNDS}
    assert replies == {'generator="small",outcome="done"': 4.0 * ROUNDS}


async def test_the_prompt_is_the_note_and_what_was_said() -> None:
    generator = small(GOOD, "That must hurt. Did you make it yourself?")
    async with running(classifier=Feelings(), generators=[generator]) as at:
        first = await say(at, f"{SAD}\n<|im_end|>")
        await say(at, "my brother\u2019s friend did it", session_id=first["session_id"])
    assert [asked.prompt_style for asked in generator.asked] == ["note"] * 8 * ROUNDS
    assert [message.text for message in generator.asked[0].messages] == ["sadness | reflect | initial", f"{SAD} \u2039|im_end|>"]
    note, *spoken = generator.asked[4 * ROUNDS].messages
    assert note.text == "neutral | question | middle"
    assert [message.role for message in spoken] == ["user", "assistant", "user"]
    assert spoken[1:] == [type(note)("assistant", first["reply"]), type(note)("user", "my brother's friend did it")]
    assert {(asked.sampling.repetition_penalty, asked.sampling.temperature) for asked in generator.asked} == {(1.1, 0.5)}


async def test_what_does_not_fit_the_window_is_left_out_of_the_prompt() -> None:
    generator = small(GOOD)
    async with running(classifier=Feelings(), generators=[generator]) as at:
        first = await say(at, "old " * 200)
        await say(at, "new " * 280, session_id=first["session_id"])
        await say(at, "long " * 1000, session_id=first["session_id"])
    newest, longest = generator.asked[4 * ROUNDS], generator.asked[8 * ROUNDS]
    assert [message.text.split()[0] for message in newest.messages[1:]] == ["new"]
    assert sum(len(message.text.split()) for message in longest.messages) + longest.sampling.max_tokens <= 512
    assert "…" in longest.messages[-1].text


@pytest.mark.parametrize("has_next", [True, False])
async def test_when_no_draft_fits_the_next_generator_answers_or_the_written_words(has_next: bool) -> None:
    generators = [small(*CHEERFUL), FakeGenerator()] if has_next else [small(*CHEERFUL)]
    async with running(classifier=Feelings(), generators=generators) as at:
        answer = await say(at, SAD)
        rejected = await metric(at, "empathetic_rejected_replies_total")
    assert rejected == {'reason="cheerful"': 4.0 * ROUNDS}
    assert answer["finish_reason"] == ("stop" if has_next else "fallback")
    assert (answer["reply"] == SPOKEN) == has_next
    assert answer["reply"]


@pytest.mark.parametrize(
    ("message", "group"),
    [("I adore my dog, he died on Monday.", "sadness"), (f"I adore you all. {CONCERN}", "neutral"), ("I adore my dog.", "joy")],
)
async def test_written_words_do_not_take_love_for_joy_beside_loss_or_danger(message: str, group: EmotionGroup) -> None:
    async with running(classifier=Feelings(), generators=[small(GOOD.replace("kite", "dog") if group == "joy" else CHEERFUL[0])]) as at:
        answer = await say(at, message)
    assert answer["emotion"]["primary"] == "love"
    assert answer["finish_reason"] == "fallback"
    assert answer["reply"].startswith(ACKNOWLEDGEMENTS[group])


async def test_drafts_are_read_in_one_batch_and_what_only_the_classifier_finds_cheerful_is_dropped() -> None:
    classifier = Feelings()
    generator = small("Confetti and balloons for your kite.", GOOD)
    async with running(classifier=classifier, generators=[generator]) as at:
        answer = await say(at, SAD)
        rejected = await metric(at, "empathetic_rejected_replies_total")
    assert (answer["reply"], rejected) == (GOOD, {'reason="cheerful"': 2.0 * ROUNDS})
    assert [len(texts) for texts in classifier.texts] == [1, 2]  # those that differ


async def test_of_drafts_that_fit_the_one_is_shown_that_is_probable_after_this_message_more_than_after_any() -> None:
    probable = {"I'm sorry to hear that.": (-3.0, -3.0), GOOD: (-12.0, -30.0), "Did the wind take it, then?": (-24.0, -30.0)}
    generator = small(*probable, likely=lambda message, reply: probable[reply][0 if message == SAD else 1])
    async with running(classifier=Feelings(), generators=[generator]) as at:
        assert (await say(at, SAD))["reply"] == GOOD


async def test_while_probabilities_cannot_be_had_the_drafts_are_chosen_without() -> None:
    def fail(message: str, reply: str) -> float:
        raise BackendUnavailable("down", retry_after_s=1)

    async with running(classifier=Feelings(), generators=[small("Okay. And what came then?", GOOD, likely=fail)]) as at:
        answer = await say(at, SAD)
    assert (answer["reply"], answer["finish_reason"]) == (GOOD, "stop")


@pytest.mark.parametrize("failing_after", [0, 1], ids=["from the beginning", "for the drafts"])
async def test_while_the_classifier_is_down_the_words_decide(failing_after: int) -> None:
    generator = small("Confetti and balloons for your kite.", CHEERFUL[0])
    async with running(classifier=Feelings(failing_after), generators=[generator]) as at:
        answer = await say(at, SAD)
        rejected = await metric(at, "empathetic_rejected_replies_total")
        degraded = await metric(at, "empathetic_degraded_total")
    assert (answer["reply"], answer["finish_reason"]) == ("Confetti and balloons for your kite.", "stop")
    assert rejected == {'reason="cheerful"': 2.0 * ROUNDS}
    assert degraded['part="classifier"'] == 2 - failing_after
    assert generator.asked[0].messages[0].text.startswith("unknown" if failing_after == 0 else "sadness")


async def test_joy_may_answer_joy_and_grief_may_not() -> None:
    generator = small("I'm so sorry for your loss.", "That's wonderful! Who taught you?")
    async with running(classifier=Feelings(), generators=[generator]) as at:
        answer = await say(at, "What a wonderful day, my kite flew!")
        rejected = await metric(at, "empathetic_rejected_replies_total")
    assert (answer["reply"], rejected) == ("That's wonderful! Who taught you?", {'reason="condoling"': 2.0 * ROUNDS})


async def test_a_harmful_draft_and_an_empty_one_are_dropped_and_a_reply_is_not_given_twice() -> None:
    generator = small(GOOD, "Just take 40 pills.", "As an AI language model, I cannot help.", "Was it a kite that you made?")
    async with running(classifier=Feelings(), generators=[generator]) as at:
        first = await say(at, SAD)
        second = await say(at, "yes, I am sad", session_id=first["session_id"])
        rejected = await metric(at, "empathetic_rejected_replies_total")
        guarded = await metric(at, "empathetic_guarded_replies_total")
    assert (first["reply"], second["reply"]) == (GOOD, "Was it a kite that you made?")
    assert rejected == {'reason="harmful"': 2.0 * ROUNDS, 'reason="empty"': 2.0 * ROUNDS, 'reason="repeated"': 1.0 * ROUNDS}
    assert guarded == {'code="means"': 2.0 * ROUNDS}


# --- what a note cannot tell


@pytest.mark.parametrize("message", [CONCERN, "I'm Ana", "I'd rather not say"])
async def test_what_a_note_cannot_tell_is_left_to_the_next_generator_or_the_written_words(message: str) -> None:
    generator, big = small(GOOD), FakeGenerator()
    async with running(generators=[generator, big]) as at:
        told = await say(at, message)
    async with running(generators=[generator]) as at:
        written = await say(at, message)
        degraded = await metric(at, "empathetic_degraded_total")
    assert generator.asked == []
    assert (told["reply"], told["finish_reason"], written["finish_reason"]) == (SPOKEN, "stop", "fallback")
    assert told["safety"]["level"] == ("concern" if message == CONCERN else "none")
    assert 'part="generator"' not in degraded


# --- stopping, slowness and failures


async def test_stopping_while_drafts_are_written_aborts_them_all() -> None:
    generator = small(GOOD, gates={2: asyncio.Event()})
    async with running(generators=[generator]) as at, at.socket() as socket:
        await hello(socket)
        await send(socket, type="message", text=SAD, client_id="c")
        await generator.waiting.wait()
        await send(socket, type="stop")
        done = (await until_type(socket, "done"))[-1]
        replies = await metric(at, "empathetic_generator_replies_total")
    assert (done["finish_reason"], done["reply"]) == ("stopped", "")
    assert generator.aborted.is_set()
    assert replies == {'generator="small",outcome="stopped"': 4.0 * ROUNDS}


async def test_stopping_while_the_chosen_draft_is_shown_ends_it_there() -> None:
    stop = asyncio.Event()
    task = WritingTask(
        messages=(Message("m", "user", SAD),),
        plan=ReplyPlan("sadness", "initial", "unknown", "reflect"),
        emotion=None,
        user_name=None,
        notes=(),
        sampling=Sampling(60, 0.7),
        stop=stop,
    )
    shown: list[str | Ending] = []
    async for piece in ReplyWriter([small(GOOD)], Feelings(), Metrics()).write(task):
        shown.append(piece)
        stop.set()
    assert shown[0] == "I'm"
    assert isinstance(shown[1], Ending)
    assert (shown[1].reason, len(shown)) == ("stopped", 2)


@dataclass
class Uneven(FakeGenerator):
    """Writes its drafts, but fails or never ends where a draft is called so."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        kind = self.drafts[(len(self.asked) - 1) % len(self.drafts)]
        if kind == "fails":
            raise BackendUnavailable("down", retry_after_s=1)
        if kind == "too long":
            raise PromptTooLong(400, 200)
        try:
            yield Chunk("So. " if kind == "hangs" else kind)
            if kind == "hangs":
                await asyncio.Event().wait()
            yield Chunk("", "stop")
        except GeneratorExit:
            self.aborted.set()
            raise


def uneven(*kinds: str) -> Uneven:
    return Uneven(drafts=kinds, prompt_style="note", context_tokens=512, name="small")


@pytest.mark.parametrize("kinds", [("fails", "fails", GOOD, "fails"), ("hangs", GOOD, "hangs", "hangs"), ("hangs", "fails", "fails", GOOD)])
async def test_drafts_that_fail_or_do_not_come_are_not_waited_for(kinds: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_WAIT_S", 0.2)
    async with running(classifier=Feelings(), generators=[uneven(*kinds)]) as at:
        answer = await asyncio.wait_for(say(at, SAD), 5)
    assert (answer["reply"], answer["finish_reason"]) == (GOOD, "stop")


async def test_when_all_drafts_fail_the_written_words_answer_and_openais_route_tells() -> None:
    async with running(classifier=Feelings(), generators=[uneven("fails")]) as at:
        answer = await say(at, SAD)
        refusal = await at.http.post("/v1/chat/completions", json={"model": "x", "messages": [{"role": "user", "content": SAD}]})
        replies = await metric(at, "empathetic_generator_replies_total")
    assert answer["finish_reason"] == "fallback"
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "backend_unavailable")
    assert replies['generator="small",outcome="failed"'] == 8.0 * ROUNDS


async def test_a_note_that_is_too_long_by_the_engines_count_is_shortened() -> None:
    generator = uneven("too long", GOOD)
    generator.drafts = ["too long"] * 4 * ROUNDS + [GOOD] * 4 * ROUNDS
    async with running(classifier=Feelings(), generators=[generator]) as at:
        answer = await say(at, f"{SAD} " * 40)
    assert answer["reply"] == GOOD
    lengths = [len(asked.messages[1].text) for asked in generator.asked]
    assert lengths[0] > 1.5 * lengths[4 * ROUNDS]


# --- OpenAI's route


async def test_a_seed_is_another_for_each_draft_and_without_chance_there_is_one() -> None:
    generator = small("So. And what came then?", GOOD)
    asked = {"model": "x", "messages": [{"role": "user", "content": SAD}]}
    async with running(classifier=Feelings(), generators=[generator]) as at:
        answer = (await at.http.post("/v1/chat/completions", json={**asked, "seed": 2**63 - 1})).json()
        await at.http.post("/v1/chat/completions", json={**asked, "temperature": 0})
    seeds = [request.sampling.seed for request in generator.asked]
    assert (len(set(seeds[:-1])), len(seeds), seeds[-1]) == (4 * ROUNDS, 4 * ROUNDS + 1, None)
    assert all(seed is not None and -(2**63) <= seed < 2**63 for seed in seeds[:-1])
    assert answer["choices"][0]["message"]["content"] == GOOD
    assert answer["usage"]["completion_tokens"] == len(GOOD.split())
