"""Reads what an OpenAI-compatible server sends, and turns what goes wrong into our errors. Asks nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2

from ..errors import BackendUnavailable, DeadlineExceeded, Overloaded
from .protocols import Chunk, Likelihood


async def read_chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[Chunk]:
    """Yield the pieces of text, then the end, of a body that is a stream of events; events without either are passed over.

    After the end the rest of the body is read, so that its connection can serve the next request.
    """
    events = _events(pieces)
    async for event in events:
        choices = event.get("choices") if isinstance(event, dict) else None
        if not isinstance(choices, list):
            raise BackendUnavailable("vllm: sent something that is no chat completion", retry_after_s=1)
        if not choices:
            continue
        choice = choices[0] if isinstance(choices[0], dict) else {}
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        reason = choice.get("finish_reason")
        if text is not None and not isinstance(text, str):
            raise BackendUnavailable("vllm: sent something that is no text", retry_after_s=1)
        if reason is not None:
            yield Chunk(text or "", "length" if reason == "length" else "stop")
            async for _ in events:
                pass
            return
        if text:
            yield Chunk(text)
    raise BackendUnavailable("vllm: the reply broke off", retry_after_s=1)


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """Yield the JSON values of Server-Sent Events; raises ValueError."""
    data: list[bytes] = []
    rest = b""
    async for piece in pieces:
        # Lines end in a line feed alone: within a value, other line ends of Unicode may stand unescaped.
        *lines, rest = (rest + piece).split(b"\n")
        for line in map(bytes.rstrip, lines):
            if line.startswith(b"data:"):
                data.append(line[len(b"data:") :])
            elif not line and data:
                event = b"\n".join(data).strip()
                data.clear()
                if event != b"[DONE]":
                    yield json.loads(event)  # by the standard library, which alone takes lone surrogates


def read_likelihood(answer: Any, prompt_tokens: int) -> Likelihood:
    """Return how probable vLLM found what stands behind the first tokens of a prompt (its `prompt_logprobs`, one a position).

    Raises:
        ValueError: the answer does not say.
    """
    positions = answer.get("prompt_logprobs") if isinstance(answer, dict) else None
    if not isinstance(positions, list) or len(positions) <= prompt_tokens:
        raise ValueError("no probabilities of the prompt")
    try:
        found = [float(chosen["logprob"]) for position in positions[prompt_tokens:] for chosen in position.values()]
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError("no probabilities of the prompt") from exc
    return Likelihood(sum(found), len(found))


async def next_chunk(chunks: AsyncIterator[Chunk]) -> Chunk:
    """Return the next chunk, as a coroutine that can be given a deadline."""
    return await anext(chunks)


async def read_rest(chunks: AsyncIterator[Chunk]) -> None:
    """Read what follows the last chunk, likewise."""
    async for _ in chunks:
        pass


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the library raises into our errors, without its messages: a server may repeat the prompt in them."""
    try:
        yield
    except (asyncio.TimeoutError, httpx2.TimeoutException):
        raise DeadlineExceeded("vllm: no answer in time") from None
    except httpx2.HTTPStatusError as exc:
        if exc.response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            raise Overloaded("vllm: takes no more work now", retry_after_s=_retry_after_s(exc.response)) from None
        raise BackendUnavailable(f"vllm: answered with status {exc.response.status_code}", retry_after_s=1) from None
    except httpx2.NetworkError:
        raise BackendUnavailable("vllm: cannot be reached", retry_after_s=1) from None
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, httpx2.CookieConflict, ValueError):
        raise BackendUnavailable("vllm: sent an unusable answer", retry_after_s=1) from None


def _retry_after_s(response: httpx2.Response) -> int:
    told = response.headers.get("retry-after", "")
    return int(told) if told.isdigit() else 1
