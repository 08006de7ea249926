"""Answers one message: safety, emotion, plan, prompt, generation, cleaning, and written words when a part fails.

    message ─► safety ─► classifier ─► plan ─► prompt ─► generators in turn ─► cleaning ─► deltas

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

from .emotions import EMOTION_GROUP, read_emotions
from .engines.protocols import EmotionClassifier, GenerationRequest, ReplyGenerator, Sampling
from .engines.written_generator import WrittenGenerator
from .errors import BackendError, EmpatheticError
from .events import Delta, EmotionDetected, FinishReason, SafetyRaised
from .metrics import Metrics
from .prompting import build_prompt, name_was_used
from .reply_cleaning import ReplyCleaner
from .safety import Assessment, Locale, assess
from .safety.output_guard import OutputGuard
from .sessions.protocols import Message
from .strategies import Moment, ReplyPlan, Strategy, choose_strategy
from .streams import until
from .texts import readable
from .trajectory import Trajectory, Turn, follow

logger = logging.getLogger(__name__)

# Room for the three sentences that a reply may have, the cleaner ends it earlier; drawn as in the original: lively, without wandering.
PERSONA_SAMPLING = Sampling(max_tokens=160, temperature=0.7, top_p=0.92)
# The model may answer at `concern`; the contacts are shown beside its reply.
_CONCERN_NOTE = "They may be going through something dark: be gentle, stay with them, and ask how safe they feel."
# It reads well after a sentence, and in the middle of one.
_GUARDED_CLOSING = "… sorry, that came out wrong. What would help you most right now?"
# Of the window, left unused: templates add tokens that no counter sees.
_TEMPLATE_TOKENS = 32
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


@dataclass(slots=True)
class _Progress:
    """What is known so far of one reply."""

    started: float = field(default_factory=time.perf_counter)
    pieces: list[str] = field(default_factory=list)
    first_token_ms: float | None = None
    classify_ms: float | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0

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
        generators: asked in turn; behind them stand the written replies, which always answer.
        metrics: where turns are counted.
        locale: whose crisis contacts are named.
    """

    def __init__(self, classifier: EmotionClassifier, generators: Sequence[ReplyGenerator], metrics: Metrics, locale: Locale) -> None:
        self._classifier = classifier
        self._generators = tuple(generators)
        self._written = WrittenGenerator()
        self._metrics = metrics
        self._locale = locale

    def assess(self, messages: Sequence[Message]) -> Assessment:
        """Assess a conversation whose last message is the user's; needs nothing but the texts."""
        said = [message.text for message in messages if message.role == "user"]
        return assess(said, self._locale, crisis_replies=sum(message.finish_reason == "crisis" for message in messages))

    async def respond(
        self,
        messages: Sequence[Message],
        *,
        reply_id: str,
        stop: asyncio.Event,
        user_name: str | None = None,
        moment: Moment = "ordinary",
        replaced: Sequence[str] = (),
        sampling: Sampling = PERSONA_SAMPLING,
    ) -> AsyncGenerator[Answering, None]:
        """Answer the last of the messages, which is the user's.

        Args:
            messages: the conversation, oldest first.
            reply_id: the id that the deltas carry.
            stop: when set, generation is aborted and the answer is what was shown until then.
            user_name: what the person wants to be called.
            moment: what the person just did besides telling.
            replaced: replies that this one stands in for, and should not repeat.
            sampling: how tokens are drawn.
        """
        progress = _Progress()
        message = messages[-1]
        safety = self.assess(messages)
        finish_reason: FinishReason = "error"
        if safety.level != "none":
            yield SafetyRaised(safety.level, safety.resources)
            self._metrics.crisis_referrals.labels(safety.level).inc()
        if safety.reply is not None:  # before the classifier, which may be slow or down
            finish_reason = "crisis"
            progress.add(safety.reply)
            yield Delta(reply_id, safety.reply)
        emotion = await self._emotion(message.text, progress)
        if emotion is not None:
            yield EmotionDetected(message.message_id, emotion)
        trajectory = trajectory_of((*messages[:-1], replace(message, emotion=emotion)))
        plan = replace(_plan(messages, emotion, trajectory, replaced), moment=moment, seed=reply_id)
        if not safety.is_crisis:
            notes = () if safety.level == "none" else (_CONCERN_NOTE,)
            task = _Task(messages, plan, emotion, user_name, notes, sampling, stop)
            async with aclosing(self._write(task, progress)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, _Ending):
                        finish_reason = piece.reason
                    else:
                        progress.add(piece)
                        yield Delta(reply_id, piece)
        if progress.first_token_ms is not None:
            self._metrics.first_token_seconds.observe(progress.first_token_ms / 1000)
        yield Answer(
            text="".join(progress.pieces),
            finish_reason=finish_reason,
            trajectory=trajectory,
            safety=safety,
            emotion=emotion,
            strategy=None if safety.is_crisis else plan.strategy,
            timings={"classify_ms": progress.classify_ms, "first_token_ms": progress.first_token_ms, "total_ms": progress.elapsed_ms()},
            prompt_tokens=progress.prompt_tokens,
            reply_tokens=progress.reply_tokens,
        )

    async def _emotion(self, text: str, progress: _Progress) -> Mapping[str, Any] | None:
        """Return an element of `data` in the wire contract, or None while the classifier cannot answer."""
        started = time.perf_counter()
        try:
            found = await self._classifier.classify([text], priority="interactive", timeout_s=_CLASSIFY_TIMEOUT_S)
        except EmpatheticError as exc:
            self._metrics.degraded.labels("classifier").inc()
            logger.warning("a reply goes on without emotion: %s", exc.code)
            return None
        progress.classify_ms = round(1000 * (time.perf_counter() - started), 3)
        reading = read_emotions(found.probabilities[0].tolist(), self._classifier.labels, self._classifier.thresholds)
        return {"index": 0, **reading.as_dict(), "truncated": found.truncated[0]}

    async def _write(self, task: _Task, progress: _Progress) -> AsyncGenerator[str | _Ending, None]:
        """Yield a reply's pieces from the first generator that gives any, then its ending."""
        for generator in (*self._generators, self._written):
            is_answered = False
            async with aclosing(self._ask(generator, task, progress)) as pieces:
                async for piece in pieces:
                    is_answered = True
                    yield piece
            if is_answered:
                return
            self._metrics.degraded.labels("generator").inc()
            logger.warning("generator %s gave no usable reply", generator.name)

    async def _ask(self, generator: ReplyGenerator, task: _Task, progress: _Progress) -> AsyncGenerator[str | _Ending, None]:
        """Yield one generator's cleaned pieces and the ending, or nothing when it fails before there was anything to show.

        When it breaks off later, what was shown stands, and the cleaner closes it.
        """
        sampling = task.sampling
        prompt = build_prompt(
            messages=task.messages,
            plan=task.plan,
            emotion=task.emotion,
            user_name=task.user_name,
            notes=task.notes,
            budget=generator.context_tokens - sampling.max_tokens - _TEMPLATE_TOKENS,
            count_tokens=generator.count_tokens,
        )
        cleaner = ReplyCleaner(prompt[0].text, task.user_name, name_was_used(task.messages, task.user_name))
        reason: FinishReason = "fallback" if generator is self._written else "stop"
        guard = OutputGuard()
        raw: list[str] = []
        shown = False
        try:
            chunks = until(task.stop.wait(), generator.stream(GenerationRequest(prompt, sampling, task.plan)))
            async with aclosing(chunks):
                async for chunk in chunks:
                    raw.append(readable(chunk.text))
                    if piece := guard.feed(cleaner.feed(raw[-1])):
                        shown = True
                        yield piece
                    if chunk.finish_reason == "length":
                        reason = "length"
                    if cleaner.ended or guard.code:
                        break
            if task.stop.is_set():
                reason, last = "stopped", ""
            else:
                last = guard.feed(cleaner.finish("length" if reason == "length" else "stop")) + guard.finish()
        except BackendError as exc:
            logger.warning("generator %s failed: %s", generator.name, exc.message)
            if not shown:
                return
            last, reason = guard.feed(cleaner.finish("broken")) + guard.finish(), "error"
        if guard.code is not None:
            self._metrics.guarded_replies.labels(guard.code).inc()
            logger.warning("generator %s was about to say something harmful: %s", generator.name, guard.code)
            if not (shown or last):
                return
            last, reason = last + _GUARDED_CLOSING, "fallback"
        if last:
            yield last
        if shown or last or reason == "stopped":
            progress.prompt_tokens = sum(generator.count_tokens(part.text) for part in prompt)
            progress.reply_tokens = generator.count_tokens("".join(raw))
            yield _Ending(reason)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a reply is written from."""

    messages: Sequence[Message]
    plan: ReplyPlan
    emotion: Mapping[str, Any] | None
    user_name: str | None
    notes: tuple[str, ...]
    sampling: Sampling
    stop: asyncio.Event


@dataclass(frozen=True, slots=True)
class _Ending:
    reason: FinishReason


def trajectory_of(messages: Sequence[Message]) -> Trajectory:
    """Return how the person's emotions changed in a conversation."""
    said = [message for message in messages if message.role == "user"]
    return follow([_turn(message) for message in said])


def _turn(message: Message) -> Turn:
    emotion = message.emotion or {"primary": None, "valence": None}
    return Turn(message.message_id, emotion["primary"], emotion["valence"])


def _plan(messages: Sequence[Message], emotion: Mapping[str, Any] | None, trajectory: Trajectory, replaced: Sequence[str]) -> ReplyPlan:
    group = "neutral" if emotion is None else EMOTION_GROUP[emotion["primary"]]
    replies = [message for message in messages if message.role == "assistant"]
    previous: list[Strategy] = [strategy for reply in replies for strategy in get_args(Strategy) if strategy == reply.strategy]
    stage, state = trajectory.stage, trajectory.state
    strategy = choose_strategy(group=group, stage=stage, state=state, asks="?" in messages[-1].text, previous=previous)
    return ReplyPlan(group, stage, state, strategy, used=(*(reply.text for reply in replies), *replaced))
