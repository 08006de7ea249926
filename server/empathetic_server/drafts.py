"""Has a generator write several replies to one message, of which nobody sees any before the best is chosen.

    request ─► generator, several times at once ─► cleaner ─► guard ─► drafts ─► their emotions and merits ─► the best of those that fit

Builds no prompt and knows no conversation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .emotions import EmotionReading, read_emotions
from .engines.protocols import ChatMessage, EmotionClassifier, GenerationRequest, PromptStyleChanged, PromptTooLong, ReplyGenerator
from .errors import BackendError, EmpatheticError
from .metrics import Metrics
from .reply_cleaning import ReplyCleaner
from .reranking import Draft, Setting, Weight, choose
from .safety.output_guard import OutputGuard
from .texts import readable

logger = logging.getLogger(__name__)

# Drafts of one reply, drawn at once; an engine that cannot write in parallel writes them one after the other.
_DRAFTS = 12
# A small model repeats itself; what it repeats all the same is weighed in `reranking`.
_REPETITION_PENALTY = 1.1
# Above this temperature a small model loses the thread more often than it finds a better word.
_WARMEST = 0.5
# Drafts are read together; when that takes longer, they are chosen without what it would have told.
_READ_TIMEOUT_S = 1.0
# A message that says nothing: what is probable after it is so after any.
_ANY_MESSAGE = ChatMessage("user", "I wanted to tell you about something that happened.")
# As long as drafts wait for each other; before the first is done, only the generator's own deadlines count.
_WAIT_S = 3.0


@dataclass(slots=True)
class Attempt:
    """What one generator has done so far; whoever lets go of it before its end has stopped it."""

    generator: ReplyGenerator
    metrics: Metrics
    raw: list[str] = field(default_factory=list)
    outcome: Literal["done", "stopped", "failed", "guarded"] = "stopped"
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind in (PromptTooLong, PromptStyleChanged):  # it is asked again, with another prompt
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

    def end_guarded(self, harm: str) -> None:
        """Note that the guard has ended it."""
        self.outcome = "guarded"
        self.metrics.guarded_replies.labels(harm).inc()
        logger.warning("generator %s was about to say something harmful: %s", self.generator.name, harm)

    def count_tokens(self) -> int:
        """Return the tokens so far."""
        return self.generator.count_tokens("".join(self.raw))

    def _observe(self, until: str) -> None:
        self.metrics.generator_seconds.labels(self.generator.name, until).observe(time.perf_counter() - self.started)


class Drafter:
    """Has a small model write several drafts and takes the best.

    Args:
        classifier: reads the drafts' emotions; while it fails, their words alone decide.
        metrics: where drafts are counted.
    """

    def __init__(self, classifier: EmotionClassifier, metrics: Metrics) -> None:
        self._classifier = classifier
        self._metrics = metrics

    async def write(
        self,
        generator: ReplyGenerator,
        request: GenerationRequest,
        setting: Setting,
        *,
        new_cleaner: Callable[[], ReplyCleaner],
        stop: asyncio.Event,
    ) -> Draft | None:
        """Return the best draft; None when none of them fits, or once `stop` is set.

        Raises:
            PromptTooLong, PromptStyleChanged: as from the generator.
            BackendError: no draft came to its end; the reason of the first.
        """
        drafts = await self._write_all(generator, _draws(request), new_cleaner, stop)
        if stop.is_set():
            return None
        texts = list(dict.fromkeys(draft.text for draft in drafts))
        found, weighed = await asyncio.gather(self._read(texts), self._weigh(generator, request, texts))
        readings, weights = dict(zip(texts, found, strict=True)), dict(zip(texts, weighed, strict=True))
        best, objections = choose(drafts, [readings[draft.text] for draft in drafts], [weights[draft.text] for draft in drafts], setting)
        for against in objections:
            self._metrics.rejected_replies.labels(against).inc()
        return best

    async def _read(self, texts: Sequence[str]) -> list[EmotionReading | None]:
        """Return the emotions of drafts, all None while the classifier does not answer."""
        try:
            found = await self._classifier.classify(texts, priority="interactive", timeout_s=_READ_TIMEOUT_S)
        except EmpatheticError as exc:
            self._metrics.degraded.labels("classifier").inc()
            logger.warning("drafts are chosen without their emotions: %s", exc.code)
            return [None] * len(texts)
        labels, thresholds = self._classifier.labels, self._classifier.thresholds
        return [read_emotions(row, labels, thresholds) for row in found.probabilities.tolist()]

    async def _weigh(self, generator: ReplyGenerator, request: GenerationRequest, texts: Sequence[str]) -> Sequence[Weight | None]:
        """Return the weights of drafts, all None while the generator does not tell how probable they are."""
        note = request.messages[0]
        try:
            after_this = await asyncio.wait_for(generator.log_likelihoods(request.messages, texts), _READ_TIMEOUT_S)
            after_any = await asyncio.wait_for(generator.log_likelihoods((note, _ANY_MESSAGE), texts), _READ_TIMEOUT_S)
        except (BackendError, asyncio.TimeoutError) as exc:
            logger.warning("drafts are chosen without their probabilities: %s", type(exc).__name__)
            return [None] * len(texts)
        if after_this is None or after_any is None:
            return [None] * len(texts)
        return [Weight(this.log_probability, any_.log_probability, this.tokens) for this, any_ in zip(after_this, after_any, strict=True)]

    async def _write_all(
        self,
        generator: ReplyGenerator,
        requests: Sequence[GenerationRequest],
        new_cleaner: Callable[[], ReplyCleaner],
        stop: asyncio.Event,
    ) -> list[Draft]:
        """Return the drafts that are done in time, in the order of the requests; the others are aborted."""
        writing = [asyncio.ensure_future(_write(generator, request, new_cleaner(), self._metrics)) for request in requests]
        stopping = asyncio.ensure_future(stop.wait())
        deadline = time.monotonic() + _WAIT_S
        waiting: list[asyncio.Future[Any]] = [*writing, stopping]
        try:
            while len(waiting) > 1 and not stop.is_set():
                has_draft = any(task.done() and task.exception() is None for task in writing)
                left_s = deadline - time.monotonic() if has_draft else None
                if left_s is not None and left_s <= 0:
                    break
                await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                waiting = [*(task for task in writing if not task.done()), stopping]
            ended = [task for task in writing if task.done()]
        finally:
            for task in (*writing, stopping):
                task.cancel()
            await asyncio.gather(*writing, stopping, return_exceptions=True)
        if stop.is_set():
            return []
        failures = [exc for task in ended if (exc := task.exception()) is not None]
        for failure in failures:
            if not isinstance(failure, BackendError):
                raise failure
        if len(failures) == len(ended):
            raise failures[0]
        return [task.result() for task in ended if task.exception() is None]


def _draws(request: GenerationRequest) -> list[GenerationRequest]:
    """Return the request once for each draft; each seed is another, and without chance one draft is all there is."""
    temperature = None if request.sampling.temperature is None else min(request.sampling.temperature, _WARMEST)
    sampling = replace(request.sampling, temperature=temperature, repetition_penalty=_REPETITION_PENALTY)
    if sampling.temperature == 0:
        return [replace(request, sampling=sampling)]
    seeds = [None if sampling.seed is None else sampling.seed ^ draw for draw in range(_DRAFTS)]
    return [replace(request, sampling=replace(sampling, seed=seed)) for seed in seeds]


async def _write(generator: ReplyGenerator, request: GenerationRequest, cleaner: ReplyCleaner, metrics: Metrics) -> Draft:
    guard = OutputGuard()
    text = ""
    is_cut_off = False
    with Attempt(generator, metrics) as attempt:
        try:
            async with aclosing(generator.stream(request)) as chunks:
                async for chunk in chunks:
                    text += guard.feed(cleaner.feed(attempt.add(chunk.text)))
                    is_cut_off = chunk.finish_reason == "length"
                    if cleaner.ended or guard.code:
                        break
        except BackendError:
            attempt.outcome = "failed"
            raise
        text += guard.feed(cleaner.finish("length" if is_cut_off else "stop")) + guard.finish()
        attempt.outcome = "done"
        if guard.code is not None:
            attempt.end_guarded(guard.code)
        return Draft(text.strip(), is_cut_off, guard.code, attempt.count_tokens())
