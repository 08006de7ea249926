"""Replies from vLLM, or any other server that speaks OpenAI's chat completions. Knows no conversation and no HTTP of ours."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, TypeVar

import httpx2
import openai
from pydantic import SecretStr

from ..errors import BackendError, BackendUnavailable, DeadlineExceeded, Overloaded
from .protocols import Chunk, GenerationRequest

N = TypeVar("N", int, float)

# Before the first token, a failure may be a restart or a lost connection: tried again soon, and only as long as a person waits.
_RETRY_DELAYS_S = (0.1, 0.3)
# A server that cannot be reached is left alone for so long, or every chat would wait for it.
_COOL_DOWN_S = 5.0
_READY_TIMEOUT_S = 1.0
_READY_KEPT_S = 1.0


class VllmGenerator:
    """Streams replies from an OpenAI-compatible server.

    Args:
        base_url: its address, ending in /v1.
        model: the model to ask for; None takes the first that the server lists.
        context_tokens: tokens that a prompt and its reply may have together.
        api_key: key to send.
        connect_s: time to connect.
        first_token_s: time from the request to the first token, retries included.
        total_s: time to the last token.
    """

    name = "vllm"

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None,
        context_tokens: int,
        api_key: SecretStr | None = None,
        connect_s: float = 2.0,
        first_token_s: float = 10.0,
        total_s: float = 60.0,
    ) -> None:
        self.context_tokens = context_tokens
        self._model = model
        self._first_token_s = first_token_s
        self._total_s = total_s
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key.get_secret_value() if api_key else "none",  # the library insists on one
            max_retries=0,  # it would also retry what must not be, and not know the deadline
            timeout=httpx2.Timeout(total_s, connect=connect_s),
        )
        self._cool_until = 0.0
        self._known_ready = (0.0, False)
        self._closed = False

    def count_tokens(self, text: str) -> int:
        """Estimate: byte-level vocabularies make a token of four letters of English, or of one CJK character's three bytes."""
        return math.ceil(len(text.encode()) / 3)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Write a reply; see `ReplyGenerator`."""
        if self._closed:
            raise BackendUnavailable("vllm: closed", retry_after_s=1)
        if time.monotonic() < self._cool_until:
            raise BackendUnavailable("vllm: cannot be reached", retry_after_s=math.ceil(_COOL_DOWN_S))
        deadline = time.monotonic() + self._total_s
        async with contextlib.AsyncExitStack() as stack:
            with _translated():
                chunks, chunk = await asyncio.wait_for(self._begin(request, stack), self._first_token_s)
            while True:
                yield chunk
                if chunk.finish_reason is not None:
                    return
                with _translated():
                    chunk = await asyncio.wait_for(_next(chunks), deadline - time.monotonic())

    async def ready(self) -> bool:
        """Whether the server lists its models; asked once a second at most."""
        if self._closed:
            return False
        at, is_ready = self._known_ready
        if time.monotonic() - at > _READY_KEPT_S:
            try:
                with _translated():
                    await asyncio.wait_for(self._client.models.list(), _READY_TIMEOUT_S)
                is_ready = True
            except BackendError:
                is_ready = False
            self._known_ready = (time.monotonic(), is_ready)
        return is_ready

    async def aclose(self) -> None:
        """Close the connections, which aborts what runs."""
        self._closed = True
        await self._client.close()

    async def _begin(self, request: GenerationRequest, stack: contextlib.AsyncExitStack) -> tuple[AsyncIterator[Chunk], Chunk]:
        """Return a stream and its first chunk; the stack closes the stream's connection."""
        for delay_s in (*_RETRY_DELAYS_S, None):
            async with contextlib.AsyncExitStack() as attempt:
                try:
                    chunks = _read(await attempt.enter_async_context(await self._send(request)))
                    first = await _next(chunks)
                except openai.APIConnectionError:
                    if delay_s is None:
                        self._cool_until = time.monotonic() + _COOL_DOWN_S
                        raise
                except openai.APIStatusError as exc:
                    if delay_s is None or exc.status_code < 500:
                        raise
                except (httpx2.TransportError, openai.APIError, BackendUnavailable):
                    if delay_s is None:
                        raise
                else:
                    stack.push_async_exit(attempt.pop_all())
                    self._cool_until = 0.0
                    return chunks, first
            await asyncio.sleep(delay_s)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, request: GenerationRequest) -> openai.AsyncStream[Any]:
        sampling = request.sampling
        messages: list[Any] = [{"role": message.role, "content": message.text} for message in request.messages]
        return await self._client.chat.completions.create(
            model=await self._model_name(),
            messages=messages,
            max_tokens=sampling.max_tokens,
            stream=True,
            temperature=_or_omit(sampling.temperature),
            top_p=_or_omit(sampling.top_p),
            seed=_or_omit(sampling.seed),
            stop=list(sampling.stop) or openai.omit,
        )

    async def _model_name(self) -> str:
        if self._model is None:
            models = (await self._client.models.list()).data
            if not models:
                raise BackendUnavailable("vllm: lists no model", retry_after_s=1)
            self._model = models[0].id
        return self._model


async def _read(events: openai.AsyncStream[Any]) -> AsyncIterator[Chunk]:
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


def _or_omit(value: N | None) -> N | openai.Omit:
    """Leave out what is not set: some servers refuse a null."""
    return openai.omit if value is None else value


async def _next(chunks: AsyncIterator[Chunk]) -> Chunk:
    return await anext(chunks)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
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
