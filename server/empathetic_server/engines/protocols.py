"""What the server needs from its engines, and no more. Knows no technology."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..strategies import ReplyPlan

Priority = Literal["interactive", "bulk"]
# What a model was made to read: a system prompt in prose, or our own small responder's note (`note_prompting`).
PromptStyle = Literal["instructions", "note"]


@dataclass(frozen=True, slots=True)
class Classification:
    """The scores of one request's texts.

    Attributes:
        probabilities: (texts, labels), independent, 0 to 1, float32.
        embeddings: (texts, hidden size), what the probabilities were computed from, float32.
        tokens: tokens of each text that were classified, special ones included.
        truncated: whether each text was longer than the model's window.
        tokenize_ms: time to turn the texts into tokens.
        queue_ms: time that the texts waited, in all.
        compute_ms: time of the batches that they were in.
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    tokenize_ms: float
    queue_ms: float
    compute_ms: float


class EmotionClassifier(Protocol):
    """Detects emotions in texts."""

    @property
    def name(self) -> str:
        """The engine's name, as in the settings."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the scores."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Lowest probability at which each label counts, fitted at training."""

    @property
    def model_version(self) -> str:
        """The model's version and the first digits of its SHA-256, such as `1-17c36e5cd980`."""

    async def open(self) -> None:
        """Connect; comes before all else. An engine that is away is no error: it may come.

        Raises:
            StartupError: the engine serves something else than it should.
        """

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        """Score texts; the answer for a text does not depend on the others.

        Cancelling the call drops what has not been computed yet.

        Raises:
            Overloaded: the queue is full; nothing was accepted.
            DeadlineExceeded: `timeout_s` passed.
            BackendUnavailable: the engine is closed or down.
            InternalError: the model failed on one of the texts.
        """

    def ready(self) -> bool:
        """Whether the engine can answer now."""

    async def aclose(self) -> None:
        """Finish what is computing, refuse what waits, free the engine. May be called twice."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; None leaves it to the engine."""

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    repetition_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a generator answers to.

    Attributes:
        messages: the prompt: one system message, then user and assistant in turn, the last a user's.
        sampling: how to draw.
        plan: what the reply should do, for a generator that does not read prompts.
        prompt_style: what kind of prompt the messages are.
    """

    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    plan: ReplyPlan
    prompt_style: PromptStyle = "instructions"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a reply. The last one has the reason for the end; text may be empty."""

    text: str
    finish_reason: Literal["stop", "length"] | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a model finds a reply.

    Attributes:
        log_probability: natural logarithm of the probability of all its tokens, the end included.
        tokens: how many these are.
    """

    log_probability: float
    tokens: int


class PromptTooLong(Exception):
    """A prompt does not fit: the estimate that it was built with was too low. Never leaves the server.

    Attributes:
        tokens: tokens that it has.
        room: tokens that it may have.
    """

    def __init__(self, tokens: int, room: int) -> None:
        super().__init__(f"a prompt of {tokens} tokens, where {room} fit")
        self.tokens = tokens
        self.room = room


class PromptStyleChanged(Exception):
    """The engine serves a model that reads another kind of prompt than this one. Never leaves the server."""


class ReplyGenerator(Protocol):
    """Writes replies."""

    @property
    def name(self) -> str:
        """The engine's name, as in the settings."""

    @property
    def context_tokens(self) -> int:
        """Tokens that prompt and reply may have together; may change with the model that the engine serves."""

    @property
    def prompt_style(self) -> PromptStyle:
        """What kind of prompt its model was made for, as far as is known by now."""

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, or an estimate that is seldom too low; special tokens of a template not counted."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Write a reply piece by piece. Closing the generator early aborts the work in the engine, too.

        Raises:
            PromptTooLong: before the first piece, from an engine whose `count_tokens` is an estimate.
            PromptStyleChanged: before the first piece, from an engine that may change its model.
            BackendUnavailable: the engine is down, or what it sends is unusable.
            DeadlineExceeded: it did not answer in time.
            Overloaded: it takes no more work now.
        """

    async def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        """Return how probable the model finds each reply to a prompt; None from an engine that cannot tell.

        Raises:
            BackendUnavailable, DeadlineExceeded, Overloaded: as from `stream`.
        """

    async def ready(self) -> bool:
        """Whether the engine can answer now; takes a second at most."""

    async def aclose(self) -> None:
        """Abort what runs and free the engine. May be called twice."""
