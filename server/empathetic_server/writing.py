"""Writes one reply: prompt, generators in turn, cleaning, guard, and written words when they fail.

    task ─► prompt ─► generator ─► cleaner ─► guard ─► pieces, and at last how they end
    task ─► note ─► generator, several times ─► drafts ─► the best of them ─► words, and at last how they end

A model that reads instructions is shown as it writes. Our own small one, which reads notes, is not good enough for that: it writes several
drafts, and the best of those that fit is shown, or none. Knows no conversation store and no crisis: the caller has decided that a generator
may answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from .drafts import Attempt, Drafter
from .engines.protocols import (
    ChatMessage,
    EmotionClassifier,
    GenerationRequest,
    PromptStyle,
    PromptStyleChanged,
    PromptTooLong,
    ReplyGenerator,
    Sampling,
)
from .engines.written_generator import WrittenGenerator
from .errors import BackendError, BackendUnavailable, Overloaded
from .events import FinishReason
from .metrics import Metrics
from .note_prompting import build_note_prompt
from .prompting import build_prompt, name_was_used
from .reply_cleaning import ReplyCleaner
from .reply_tone import mood_of
from .reranking import Setting
from .safety.output_guard import OutputGuard
from .sessions.protocols import Message
from .strategies import ReplyPlan
from .streams import until

logger = logging.getLogger(__name__)

# It reads well after a sentence, and in the middle of one.
_GUARDED_CLOSING = "… sorry, that came out wrong. What would help you most right now?"
# Of the window, left unused: templates add tokens that no counter sees.
_TEMPLATE_TOKENS = 32
# Of a small model's window, for its reply: its prompt needs the rest.
_REPLY_SHARE = 1 / 3
# Replies that a draft is compared with: nobody remembers the wording of older ones.
_EARLIER = 12
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


class ReplyWriter:
    """Writes with the first generator that can.

    Args:
        generators: asked in turn; behind them stand the written replies, which always answer.
        classifier: reads the emotions of drafts; while it fails, their words alone decide.
        metrics: where failures are counted.
    """

    def __init__(self, generators: Sequence[ReplyGenerator], classifier: EmotionClassifier, metrics: Metrics) -> None:
        self._generators = tuple(generators)
        self._drafter = Drafter(classifier, metrics)
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
            if _is_passed_over(generator, task):
                continue
            self._metrics.degraded.labels("generator").inc()
            logger.warning("generator %s gave no usable reply", generator.name)
            if failure and not task.has_fallback and generator is self._generators[-1]:
                if isinstance(failure, Overloaded):
                    raise failure
                raise BackendUnavailable("no reply can be generated now", retry_after_s=failure.retry_after_s or 1) from failure

    async def _ask(self, generator: ReplyGenerator, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
        """Yield one generator's pieces and the ending; a prompt that is not for its model, or too long for it, is built again."""
        sampling = task.sampling
        budget: int | None = None
        for _ in range(_PROMPT_TRIES):
            style = generator.prompt_style
            if _is_passed_over(generator, task):
                return
            if style == "note":
                sampling = replace(sampling, max_tokens=min(sampling.max_tokens, int(generator.context_tokens * _REPLY_SHARE)))
            if budget is None:
                budget = generator.context_tokens - sampling.max_tokens - _TEMPLATE_TOKENS
            # The written replies read no prompt: it is built for them only where its length is told.
            prompt = () if generator is self._written and task.has_fallback else _build(style, task, budget, generator)
            request = GenerationRequest(prompt, sampling, task.plan, style)
            answer = self._choose if style == "note" else self._show
            try:
                async with aclosing(answer(request, generator, task)) as pieces:
                    async for piece in pieces:
                        yield piece
            except PromptStyleChanged:  # nothing has been yielded
                budget = None
            except PromptTooLong as exc:  # nothing has been yielded
                budget = int(_SHORTENED * _count(prompt, generator) * exc.room / exc.tokens)
            else:
                return
        raise BackendUnavailable("the prompt does not fit the model's window", retry_after_s=1)

    async def _show(self, request: GenerationRequest, generator: ReplyGenerator, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
        """Yield one generator's cleaned pieces and the ending, or nothing when none is fit to be shown.

        Raises when it fails before there was anything to show. When it breaks off later, what was shown stands, and the cleaner closes it.
        """
        cleaner = _new_cleaner(request, task)
        reason: FinishReason = "fallback" if generator is self._written else "stop"
        guard = OutputGuard()
        shown = False
        with Attempt(generator, self._metrics) as attempt:
            try:
                chunks = until(task.stop.wait(), generator.stream(request))
                async with aclosing(chunks):
                    async for chunk in chunks:
                        if piece := guard.feed(cleaner.feed(attempt.add(chunk.text)), cleaner.coming):
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
                    attempt.outcome = "done"
            except BackendError as exc:
                attempt.outcome = "failed"
                if not shown:
                    raise
                logger.warning("generator %s failed: %s", generator.name, exc.message)
                last, reason = guard.feed(cleaner.finish("broken")) + guard.finish(), "error"
            if guard.code is not None:
                attempt.end_guarded(guard.code)
                if not (shown or last):
                    return
                last, reason = last + _GUARDED_CLOSING, "fallback"
            if last:
                yield last
            if shown or last or reason == "stopped":
                yield Ending(reason, _count(request.messages, generator), attempt.count_tokens())

    async def _choose(self, request: GenerationRequest, generator: ReplyGenerator, task: WritingTask) -> AsyncGenerator[str | Ending, None]:
        """Yield the words of the best of several drafts and the ending, or nothing when none of them fits."""
        message = task.messages[-1].text
        setting = Setting(message, mood_of(message, task.emotion), task.plan.used[-_EARLIER:])
        best = await self._drafter.write(generator, request, setting, new_cleaner=lambda: _new_cleaner(request, task), stop=task.stop)
        prompt_tokens = _count(request.messages, generator)
        if best is None:
            if task.stop.is_set():
                yield Ending("stopped", prompt_tokens, 0)
            return
        reason: FinishReason = "length" if best.is_cut_off else "stop"
        for word in re.findall(r"\s*\S+", best.text):
            if task.stop.is_set():
                reason = "stopped"
                break
            yield word
        yield Ending(reason, prompt_tokens, best.tokens)


def _is_passed_over(generator: ReplyGenerator, task: WritingTask) -> bool:
    """Whether a reply needs what a note cannot tell: to be gentle with someone in danger, or what was just said about a name."""
    return generator.prompt_style == "note" and bool(task.notes or task.plan.moment != "ordinary")


def _build(style: PromptStyle, task: WritingTask, budget: int, generator: ReplyGenerator) -> tuple[ChatMessage, ...]:
    said: dict[str, Any] = {"messages": task.messages, "plan": task.plan, "emotion": task.emotion, "user_name": task.user_name}
    if style == "note":
        return build_note_prompt(**said, budget=budget, count_tokens=generator.count_tokens)
    return build_prompt(**said, notes=task.notes, budget=budget, count_tokens=generator.count_tokens)


def _new_cleaner(request: GenerationRequest, task: WritingTask) -> ReplyCleaner:
    system_prompt = request.messages[0].text if request.messages else ""
    return ReplyCleaner(system_prompt, task.user_name, name_was_used(task.messages, task.user_name))


def _count(prompt: tuple[ChatMessage, ...], generator: ReplyGenerator) -> int:
    """Return the tokens of a prompt by the generator's own count, or its estimate."""
    return sum(generator.count_tokens(part.text) for part in prompt)
