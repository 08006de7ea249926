"""Writes one reply: prompt, generators in turn, cleaning, guard, and written words when they fail.

    task ─► prompt ─► generator ─► cleaner ─► guard ─► pieces, and at last how they end

Knows no conversation store and no crisis: the caller has decided that a generator may answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from .engines.protocols import ChatMessage, GenerationRequest, PromptTooLong, ReplyGenerator, Sampling
from .engines.written_generator import WrittenGenerator
from .errors import BackendError, BackendUnavailable, Overloaded
from .events import FinishReason
from .metrics import Metrics
from .prompting import build_prompt, name_was_used
from .reply_cleaning import ReplyCleaner
from .safety.output_guard import OutputGuard
from .sessions.protocols import Message
from .strategies import ReplyPlan
from .streams import until
from .texts import readable

logger = logging.getLogger(__name__)

# It reads well after a sentence, and in the middle of one.
_GUARDED_CLOSING = "… sorry, that came out wrong. What would help you most right now?"
# Of the window, left unused: templates add tokens that no counter sees.
_TEMPLATE_TOKENS = 32
# Tries with a prompt that is too long by the engine's count. Each leaves out what the last one was over, and a little more, since the texts
# that stay may have more tokens than the mean; the second fits but for odd texts.
_PROMPT_TRIES = 3
_SHORTENED = 0.95


@dataclass(frozen=True, slots=True)
class WritingTask:
    """What a reply is written from.

    Attributes:
        messages: the conversation, oldest first; the last is the message to answer.
        plan: what the reply should do.
        emotion: of the message, as in the wire contract; None where it is not known.
        user_name: what the person wants to be called.
        notes: what the prompt says besides.
        sampling: how tokens are drawn.
        stop: when set, generation is aborted and the reply is what was shown until then.
        has_fallback: whether written words answer when no generator does; else its error is raised.
    """

    messages: Sequence[Message]
    plan: ReplyPlan
    emotion: Mapping[str, Any] | None
    user_name: str | None
    notes: tuple[str, ...]
    sampling: Sampling
    stop: asyncio.Event
    has_fallback: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply came to its end, and its tokens by the generator's own count."""

    reason: FinishReason
    prompt_tokens: int
    reply_tokens: int


@dataclass(slots=True)
class _Writing:
    """What one generator has done so far; whoever lets go of it before its end has stopped it."""

    generator: ReplyGenerator
    metrics: Metrics
    raw: list[str] = field(default_factory=list)
    outcome: Literal["done", "stopped", "failed", "guarded"] = "stopped"
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is PromptTooLong:  # it is asked again, with less
            return
        self._observe("end")
        self.metrics.generator_replies.labels(self.generator.name, self.outcome).inc()
        self.metrics.generated_tokens.labels(self.generator.name).inc(self.count_tokens())

    def add(self, text: str) -> str:
        """Take a piece over, made readable."""
        if not self.raw:
            self._observe("first piece")
        self.raw.append(readable(text))
        return self.raw[-1]

    def count_tokens(self) -> int:
        return self.generator.count_tokens("".join(self.raw))

    def _observe(self, until: str) -> None:
        self.metrics.generator_seconds.labels(self.generator.name, until).observe(time.perf_counter() - self.started)


class ReplyWriter:
    """Writes with the first generator that can.

    Args:
        generators: asked in turn; behind them stand the written replies, which always answer.
        metrics: where failures are counted.
    """

    def __init__(self, generators: Sequence[ReplyGenerator], metrics: Metrics) -> None:
        self._generators = tuple(generators)
        self._written = WrittenGenerator()
        self._metrics = metrics

    async def write(self, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
        """Yield a reply's pieces from the first generator that gives any, then its ending.

        Raises:
            Overloaded: there is no fallback, and the last generator takes no more work now.
            BackendUnavailable: there is no fallback, and the last generator is away.
        """
        for generator in (*self._generators, self._written):
            is_answered = False
            failure: BackendError | None = None
            try:
                async with aclosing(self._ask(generator, task)) as pieces:
                    async for piece in pieces:
                        is_answered = True
                        yield piece
            except BackendError as exc:
                logger.warning("generator %s failed: %s", generator.name, exc.message)
                failure = exc
            if is_answered:
                return
            self._metrics.degraded.labels("generator").inc()
            logger.warning("generator %s gave no usable reply", generator.name)
            if failure and not task.has_fallback and generator is self._generators[-1]:
                if isinstance(failure, Overloaded):
                    raise failure
                raise BackendUnavailable("no reply can be generated now", retry_after_s=failure.retry_after_s or 1) from failure

    async def _ask(self, generator: ReplyGenerator, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
        """Yield one generator's pieces and the ending; a prompt that is too long by the engine's own count is shortened."""
        budget = generator.context_tokens - task.sampling.max_tokens - _TEMPLATE_TOKENS
        for _ in range(_PROMPT_TRIES):
            prompt = build_prompt(
                messages=task.messages,
                plan=task.plan,
                emotion=task.emotion,
                user_name=task.user_name,
                notes=task.notes,
                budget=budget,
                count_tokens=generator.count_tokens,
            )
            try:
                async with aclosing(self._ask_with(prompt, generator, task)) as pieces:
                    async for piece in pieces:
                        yield piece
            except PromptTooLong as exc:  # nothing has been yielded
                budget = int(_SHORTENED * _count(prompt, generator) * exc.room / exc.tokens)
            else:
                return
        raise BackendUnavailable("the prompt does not fit the model's window", retry_after_s=1)

    async def _ask_with(
        self, prompt: tuple[ChatMessage, ...], generator: ReplyGenerator, task: WritingTask
    ) -> AsyncGenerator[str | Ending, None]:
        """Yield one generator's cleaned pieces and the ending, or nothing when none is fit to be shown.

        Raises when it fails before there was anything to show. When it breaks off later, what was shown stands, and the cleaner closes it.
        """
        sampling = task.sampling
        cleaner = ReplyCleaner(prompt[0].text, task.user_name, name_was_used(task.messages, task.user_name))
        reason: FinishReason = "fallback" if generator is self._written else "stop"
        guard = OutputGuard()
        shown = False
        with _Writing(generator, self._metrics) as writing:
            try:
                chunks = until(task.stop.wait(), generator.stream(GenerationRequest(prompt, sampling, task.plan)))
                async with aclosing(chunks):
                    async for chunk in chunks:
                        if piece := guard.feed(cleaner.feed(writing.add(chunk.text))):
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
                    writing.outcome = "done"
            except BackendError as exc:
                writing.outcome = "failed"
                if not shown:
                    raise
                logger.warning("generator %s failed: %s", generator.name, exc.message)
                last, reason = guard.feed(cleaner.finish("broken")) + guard.finish(), "error"
            if guard.code is not None:
                writing.outcome = "guarded"
                self._metrics.guarded_replies.labels(guard.code).inc()
                logger.warning("generator %s was about to say something harmful: %s", generator.name, guard.code)
                if not (shown or last):
                    return
                last, reason = last + _GUARDED_CLOSING, "fallback"
            if last:
                yield last
            if shown or last or reason == "stopped":
                yield Ending(reason, _count(prompt, generator), writing.count_tokens())


def _count(prompt: tuple[ChatMessage, ...], generator: ReplyGenerator) -> int:
    """Return the tokens of a prompt by the generator's own count, or its estimate."""
    return sum(generator.count_tokens(part.text) for part in prompt)
