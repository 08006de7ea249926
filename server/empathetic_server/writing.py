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

from .engines.protocols import GenerationRequest, ReplyGenerator, Sampling
from .engines.written_generator import WrittenGenerator
from .errors import BackendError
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
    """

    messages: Sequence[Message]
    plan: ReplyPlan
    emotion: Mapping[str, Any] | None
    user_name: str | None
    notes: tuple[str, ...]
    sampling: Sampling
    stop: asyncio.Event


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

    def __exit__(self, *_: object) -> None:
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
        """Yield a reply's pieces from the first generator that gives any, then its ending."""
        for generator in (*self._generators, self._written):
            is_answered = False
            async with aclosing(self._ask(generator, task)) as pieces:
                async for piece in pieces:
                    is_answered = True
                    yield piece
            if is_answered:
                return
            self._metrics.degraded.labels("generator").inc()
            logger.warning("generator %s gave no usable reply", generator.name)

    async def _ask(self, generator: ReplyGenerator, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
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
                logger.warning("generator %s failed: %s", generator.name, exc.message)
                if not shown:
                    return
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
                prompt_tokens = sum(generator.count_tokens(part.text) for part in prompt)
                yield Ending(reason, prompt_tokens, writing.count_tokens())
