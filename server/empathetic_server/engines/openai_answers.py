"""Reads what an OpenAI-compatible server sends, and turns what goes wrong into our errors. Asks nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import httpx2
import openai

from ..errors import BackendUnavailable, DeadlineExceeded, Overloaded
from .protocols import Chunk, Likelihood

N = TypeVar("N", int, float)


async def read_chunks(events: openai.AsyncStream[Any]) -> AsyncIterator[Chunk]:
    """Yield the pieces of text, then the end; events without either are passed over.

    The library does not check what the server sends.
    """
    async for event in events:
        choices = getattr(event, "choices", None)
        if not isinstance(choices, list):
            raise BackendUnavailable("vllm: sent something that is no chat completion", retry_after_s=1)
        if not choices:
            continue
        text = getattr(getattr(choices[0], "delta", None), "content", None)
        reason = getattr(choices[0], "finish_reason", None)
        if text is not None and not isinstance(text, str):
            raise BackendUnavailable("vllm: sent something that is no text", retry_after_s=1)
        if reason is not None:
            yield Chunk(text or "", "length" if reason == "length" else "stop")
            return
        if text:
            yield Chunk(text)
    raise BackendUnavailable("vllm: the reply broke off", retry_after_s=1)


def read_likelihood(answer: Any, prompt_tokens: int) -> Likelihood:
    """Return how probable vLLM found what stands behind the first tokens of a prompt (its `prompt_logprobs`, one a position).

    Raises:
        ValueError: the answer does not say.
    """
    positions = (getattr(answer, "model_extra", None) or {}).get("prompt_logprobs")
    if not isinstance(positions, list) or len(positions) <= prompt_tokens:
        raise ValueError("no probabilities of the prompt")
    try:
        found = [float(chosen["logprob"]) for position in positions[prompt_tokens:] for chosen in position.values()]
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError("no probabilities of the prompt") from exc
    return Likelihood(sum(found), len(found))


def or_omit(value: N | None) -> N | openai.Omit:
    """Leave out what is not set: some servers refuse a null."""
    return openai.omit if value is None else value


async def next_chunk(chunks: AsyncIterator[Chunk]) -> Chunk:
    """Return the next chunk, as a coroutine that can be given a deadline."""
    return await anext(chunks)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the libraries raise into our errors, without their messages: a server may repeat the prompt in them."""
    try:
        yield
    except (asyncio.TimeoutError, openai.APITimeoutError, httpx2.TimeoutException):
        raise DeadlineExceeded("vllm: no answer in time") from None
    except openai.RateLimitError as exc:
        raise Overloaded("vllm: takes no more work now", retry_after_s=_retry_after_s(exc)) from None
    except openai.APIStatusError as exc:
        raise BackendUnavailable(f"vllm: answered with status {exc.status_code}", retry_after_s=1) from None
    except openai.APIConnectionError:
        raise BackendUnavailable("vllm: cannot be reached", retry_after_s=1) from None
    except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, httpx2.CookieConflict, ValueError):
        raise BackendUnavailable("vllm: sent an unusable answer", retry_after_s=1) from None


def _retry_after_s(exc: openai.APIStatusError) -> int:
    told = exc.response.headers.get("retry-after", "")
    return int(told) if told.isdigit() else 1
