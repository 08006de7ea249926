"""Answers one message: safety, emotion, plan, reply; goes on without a part that fails.

    message ─► rules, and meanwhile classifier ─► learned score ─► plan ─► writing ─► deltas

Keeps no conversation and stores nothing: it is given the messages and yields events, the last of them an `Answer`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from .emotions import EMOTION_GROUP, EmotionGroup, read_emotions
from .engines.protocols import EmotionClassifier, ReplyGenerator, Sampling
from .errors import EmpatheticError
from .events import Delta, EmotionDetected, FinishReason, SafetyRaised
from .metrics import Metrics
from .reply_tone import mood_of
from .safety import Assessment, CrisisHead, Level, Locale, Reading, Statement, assess, read
from .sessions.protocols import Message
from .strategies import Moment, ReplyPlan, Strategy, choose_strategy
from .trajectory import Trajectory, Turn, follow
from .writing import Ending, ReplyWriter, WritingTask

logger = logging.getLogger(__name__)

# Room for the three sentences that a reply may have, the cleaner ends it earlier; drawn as in the original: lively, without wandering.
PERSONA_SAMPLING = Sampling(max_tokens=160, temperature=0.7, top_p=0.92)
# The model may answer at `concern`; the contacts are shown beside its reply.
_CONCERN_NOTE = "They may be going through something dark: be gentle, stay with them, and ask how safe they feel."
# A chat waits no longer for its emotion: the reply matters more.
_CLASSIFY_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a reply came out; `text` is exactly the deltas joined."""

    text: str
    finish_reason: FinishReason
    trajectory: Trajectory
    safety: Assessment
    emotion: Mapping[str, Any] | None
    strategy: Strategy | None
    timings: Mapping[str, float | None]
    prompt_tokens: int
    reply_tokens: int


Answering = EmotionDetected | SafetyRaised | Delta | Answer


@dataclass(frozen=True, slots=True)
class Detected:
    """What the classifier and the learned score found in a message.

    Attributes:
        emotion: an element of `data` in the wire contract, or None while the classifier cannot answer.
        learned: the level that the learned score speaks for.
        classify_ms: how long it took; None likewise.
    """

    emotion: Mapping[str, Any] | None = None
    learned: Level = "none"
    classify_ms: float | None = None


@dataclass(slots=True)
class _Progress:
    """What is known so far of one reply."""

    started: float = field(default_factory=time.perf_counter)
    pieces: list[str] = field(default_factory=list)
    first_token_ms: float | None = None

    def elapsed_ms(self) -> float:
        return round(1000 * (time.perf_counter() - self.started), 3)

    def add(self, text: str) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms()
        self.pieces.append(text)


class Responder:
    """Answers messages with the first generator that can.

    Args:
        classifier: detects emotions; while it fails, replies go on without.
        crisis_head: the learned score on the classifier's embeddings; without it the rules stand alone.
        generators: asked in turn; behind them stand the written replies, which always answer.
        metrics: where turns are counted.
        locale: whose crisis contacts are named.
    """

    def __init__(
        self,
        classifier: EmotionClassifier,
        crisis_head: CrisisHead | None,
        generators: Sequence[ReplyGenerator],
        metrics: Metrics,
        locale: Locale,
    ) -> None:
        self._classifier = classifier
        self._crisis_head = crisis_head
        self._writer = ReplyWriter(generators, classifier, metrics)
        self._metrics = metrics
        self._locale = locale

    def is_crisis(self, messages: Sequence[Message]) -> bool:
        """Whether the written reply is due, by the rules alone: needs nothing but the texts."""
        return self._assess(self._read(messages), messages).is_crisis

    async def detect(self, text: str) -> asyncio.Task[Detected]:
        """Begin to detect a message's emotions; when this returns, the work has begun, and goes on beside whatever is done next."""
        detecting = asyncio.ensure_future(self._detect(text))
        await asyncio.sleep(0)
        return detecting

    async def respond(
        self,
        messages: Sequence[Message],
        *,
        reply_id: str,
        stop: asyncio.Event,
        detecting: asyncio.Task[Detected] | None = None,
        user_name: str | None = None,
        moment: Moment = "ordinary",
        replaced: Sequence[str] = (),
        sampling: Sampling = PERSONA_SAMPLING,
        has_fallback: bool = True,
    ) -> AsyncGenerator[Answering, None]:
        """Answer the last of the messages, which is the user's.

        Args:
            messages: the conversation, oldest first.
            reply_id: the id that the deltas carry.
            stop: when set, generation is aborted and the answer is what was shown until then.
            detecting: from `detect`, of the message; it is cancelled when it is not needed any more.
            user_name: what the person wants to be called.
            moment: what the person just did besides telling.
            replaced: replies that this one stands in for, and should not repeat.
            sampling: how tokens are drawn.
            has_fallback: whether written words answer when no generator does.

        Raises:
            Overloaded: there is no fallback, and the generators take no more work now.
            BackendUnavailable: there is no fallback, and no generator answers.
        """
        progress = _Progress()
        message = messages[-1]
        detecting = detecting or await self.detect(message.text)
        ending = Ending("crisis", prompt_tokens=0, reply_tokens=0)
        try:
            reading = self._read(messages)
            safety = self._assess(reading, messages)
            if safety.is_crisis:  # before the classifier's answer, which may be slow or never come
                for happening in self._raise(safety, reply_id, progress):
                    yield happening
            detected = await detecting
        finally:
            detecting.cancel()
        emotion = detected.emotion
        if emotion is not None:
            yield EmotionDetected(message.message_id, emotion)
        if not safety.is_crisis:
            safety = self._assess(reading, messages, detected.learned)
            for happening in self._raise(safety, reply_id, progress):
                yield happening
        trajectory = trajectory_of((*messages[:-1], replace(message, emotion=emotion)))
        plan = replace(_plan(messages, emotion, trajectory, safety.level, replaced), moment=moment, seed=reply_id)
        if not safety.is_crisis:
            notes = () if safety.level == "none" else (_CONCERN_NOTE,)
            task = WritingTask(messages, plan, emotion, user_name, notes, sampling, stop, has_fallback)
            async with aclosing(self._writer.write(task)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Ending):
                        ending = piece
                    else:
                        progress.add(piece)
                        yield Delta(reply_id, piece)
        if progress.first_token_ms is not None:
            self._metrics.first_token_seconds.observe(progress.first_token_ms / 1000)
        yield Answer(
            text="".join(progress.pieces),
            finish_reason=ending.reason,
            trajectory=trajectory,
            safety=safety,
            emotion=emotion,
            strategy=None if safety.is_crisis else plan.strategy,
            timings={"classify_ms": detected.classify_ms, "first_token_ms": progress.first_token_ms, "total_ms": progress.elapsed_ms()},
            prompt_tokens=ending.prompt_tokens,
            reply_tokens=ending.reply_tokens,
        )

    def _read(self, messages: Sequence[Message]) -> Reading:
        """Read a conversation whose last message is the user's."""
        with self._metrics.safety_seconds.time():
            return read([Statement(message.text, message.safety or "none") for message in messages if message.role == "user"])

    def _assess(self, reading: Reading, messages: Sequence[Message], learned: Level = "none") -> Assessment:
        replies = sum(message.finish_reason == "crisis" for message in messages)
        return assess(reading, self._locale, learned=learned, crisis_replies=replies)

    def _raise(self, safety: Assessment, reply_id: str, progress: _Progress) -> list[Answering]:
        """Return what the client is told of an assessment: contacts, and from `high` up the written reply."""
        if safety.level == "none":
            return []
        self._metrics.crisis_referrals.labels(safety.level).inc()
        raised: list[Answering] = [SafetyRaised(safety.level, safety.resources)]
        if safety.reply is not None:
            progress.add(safety.reply)
            raised.append(Delta(reply_id, safety.reply))
        return raised

    async def _detect(self, text: str) -> Detected:
        started = time.perf_counter()
        try:
            found = await self._classifier.classify([text], priority="interactive", timeout_s=_CLASSIFY_TIMEOUT_S)
        except EmpatheticError as exc:
            self._metrics.degraded.labels("classifier").inc()
            logger.warning("a reply goes on without emotion: %s", exc.code)
            return Detected()
        classify_ms = round(1000 * (time.perf_counter() - started), 3)
        reading = read_emotions(found.probabilities[0].tolist(), self._classifier.labels, self._classifier.thresholds)
        learned = "none" if self._crisis_head is None else self._crisis_head.level(found.embeddings[0].tolist())
        return Detected({"index": 0, **reading.as_dict(), "truncated": found.truncated[0]}, learned, classify_ms)


def trajectory_of(messages: Sequence[Message]) -> Trajectory:
    """Return how the person's emotions changed in a conversation."""
    said = [message for message in messages if message.role == "user"]
    return follow([_turn(message) for message in said])


def _turn(message: Message) -> Turn:
    emotion = message.emotion or {"primary": None, "valence": None}
    return Turn(message.message_id, emotion["primary"], emotion["valence"])


def _plan(
    messages: Sequence[Message], emotion: Mapping[str, Any] | None, trajectory: Trajectory, level: Level, replaced: Sequence[str]
) -> ReplyPlan:
    group = _group(messages[-1].text, emotion, level)
    replies = [message for message in messages if message.role == "assistant"]
    previous: list[Strategy] = [strategy for reply in replies for strategy in get_args(Strategy) if strategy == reply.strategy]
    stage, state = trajectory.stage, trajectory.state
    strategy = choose_strategy(group=group, stage=stage, state=state, asks="?" in messages[-1].text, previous=previous)
    return ReplyPlan(group, stage, state, strategy, used=(*(reply.text for reply in replies), *replaced))


def _group(text: str, emotion: Mapping[str, Any] | None, level: Level) -> EmotionGroup:
    """Return the group of the strongest emotion, but no joy where words tell of loss or danger: love and laughter are found there, too."""
    group: EmotionGroup = "neutral" if emotion is None else EMOTION_GROUP[emotion["primary"]]
    if group != "joy":
        return group
    if level != "none":
        return "neutral"
    return "sadness" if mood_of(text, emotion) == "painful" else "joy"
