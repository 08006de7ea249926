"""Replies from vLLM, or any other server that speaks OpenAI's chat completions. Knows no conversation and no HTTP of ours.

While the server does not answer, nobody waits for it: one probe a second asks for a token until one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import SecretStr

from .. import logs
from ..errors import BackendError, BackendUnavailable
from .openai_answers import next_chunk, read_chunks, read_likelihood, read_rest, translated
from .protocols import ChatMessage, Chunk, GenerationRequest, Likelihood, PromptStyle, PromptStyleChanged, PromptTooLong

logger = logging.getLogger(__name__)

# Before the first token, a failure may be a restart or a lost connection: tried again soon, and only as long as a person waits.
_RETRY_DELAYS_S = (0.1, 0.3)
# How often a server that does not answer is asked for a token, and how long it has: together less than the five seconds in which it is
# used again.
_PROBE_EVERY_S = 1.0
_PROBE_TIMEOUT_S = 3.0
_PROBE = (ChatMessage("user", "Hello"),)
_READY_TIMEOUT_S = 1.0
_READY_KEPT_S = 1.0
# What a server has that does not say.
_CONTEXT_TOKENS = 4096
# The name of the one model that reads notes: `deploy/run_vllm.py` serves it so.
NOTE_READER = "empathetic-responder"
# What follows a reply's last token comes at once; a connection on which it does not is not used again.
_REST_S = 0.05
# What a template adds to a message, at the most.
_MESSAGE_TOKENS = 16
# Far more than turns run at once: vLLM queues by itself.
_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class _Model:
    """What the server says of the model that it serves; vLLM tells its window, and counts tokens."""

    name: str
    context_tokens: int | None


class VllmGenerator:
    """Streams replies from an OpenAI-compatible server.

    Args:
        base_url: its address, ending in /v1.
        model: the model to ask for, one that it lists; None takes the first.
        context_tokens: tokens that a prompt and its reply may have together; None takes what the server says.
        api_key: key to send.
        connect_s: time to connect.
        first_token_s: time from the request to the first token, retries included.
        token_s: time from one token to the next.
        total_s: time to the last token.
    """

    name = "vllm"

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None,
        context_tokens: int | None,
        api_key: SecretStr | None = None,
        connect_s: float = 2.0,
        first_token_s: float = 10.0,
        token_s: float = 10.0,
        total_s: float = 60.0,
    ) -> None:
        self._wanted = model
        self._wanted_context_tokens = context_tokens
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._total_s = total_s
        self._tokenize_url = base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
        # Without OpenAI's own library on top, which takes three times as long for a reply.
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else None,
            timeout=httpx2.Timeout(total_s, connect=connect_s),
            limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            follow_redirects=True,
        )
        self._model: _Model | None = None
        self._known_ready = (0.0, False)
        self._probing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def context_tokens(self) -> int:
        """Tokens that a prompt and its reply may have together, as far as is known by now."""
        known = [self._wanted_context_tokens, self._model.context_tokens if self._model else None]
        return min((tokens for tokens in known if tokens), default=_CONTEXT_TOKENS)

    @property
    def prompt_style(self) -> PromptStyle:
        """What the served model reads, as far as is known by now: only our own responder reads notes."""
        name = self._model.name if self._model else self._wanted
        return "note" if name == NOTE_READER else "instructions"

    def count_tokens(self, text: str) -> int:
        """Estimate: byte-level vocabularies make a token of four letters of English, or of one CJK character's three bytes."""
        return math.ceil(len(text.encode()) / 3)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Write a reply; see `ReplyGenerator`."""
        if self._closed:
            raise BackendUnavailable("vllm: closed", retry_after_s=1)
        if self._probing is not None:
            raise BackendUnavailable("vllm: does not answer", retry_after_s=1)
        deadline = time.monotonic() + self._total_s
        async with contextlib.AsyncExitStack() as stack:
            with self._translated_and_watched():
                chunks, chunk = await asyncio.wait_for(self._begin(request, stack), self._first_token_s)
            while True:
                yield chunk
                if chunk.finish_reason is not None:
                    with contextlib.suppress(asyncio.TimeoutError, httpx2.HTTPError, ValueError):  # the reply is whole all the same
                        await asyncio.wait_for(read_rest(chunks), _REST_S)
                    return
                with self._translated_and_watched():
                    chunk = await asyncio.wait_for(next_chunk(chunks), min(self._token_s, deadline - time.monotonic()))

    async def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        """Return how probable the model finds replies; None from a server that is not vLLM. See `ReplyGenerator`."""
        if self._closed:
            raise BackendUnavailable("vllm: closed", retry_after_s=1)
        with translated():
            return await asyncio.wait_for(self._score(messages, replies), self._token_s)

    async def ready(self) -> bool:
        """Whether the server lists the model and has not left anybody waiting since; asked once a second at most."""
        if self._closed or self._probing is not None:
            return False
        at, is_ready = self._known_ready
        if time.monotonic() - at > _READY_KEPT_S:
            try:
                with translated():
                    self._model = await asyncio.wait_for(self._find_model(), _READY_TIMEOUT_S)
                is_ready = True
            except BackendError:
                is_ready = False
            self._known_ready = (time.monotonic(), is_ready)
        return is_ready

    async def aclose(self) -> None:
        """Close the connections, which aborts what runs."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._client.aclose()

    async def _begin(self, request: GenerationRequest, stack: contextlib.AsyncExitStack) -> tuple[AsyncIterator[Chunk], Chunk]:
        """Return a stream and its first chunk; the stack closes the stream's connection."""
        for delay_s in (*_RETRY_DELAYS_S, None):
            async with contextlib.AsyncExitStack() as attempt:
                try:
                    response = await self._send(request, attempt)
                    chunks = read_chunks(response.aiter_bytes())
                    first = await next_chunk(chunks)
                except httpx2.HTTPStatusError as exc:
                    if exc.response.status_code == httpx2.codes.NOT_FOUND:  # it was restarted with another model
                        self._model = None
                    elif not exc.response.is_server_error:
                        raise
                    if delay_s is None:
                        raise
                except (httpx2.TransportError, BackendUnavailable):
                    if delay_s is None:
                        raise
                else:
                    stack.push_async_exit(attempt.pop_all())
                    return chunks, first
            await asyncio.sleep(delay_s)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, request: GenerationRequest, stack: contextlib.AsyncExitStack) -> httpx2.Response:
        """Ask for a reply with the fields that are set, and no others; raises PromptTooLong, PromptStyleChanged."""
        sampling = request.sampling
        model = await self._known_model()
        if self.prompt_style != request.prompt_style:
            raise PromptStyleChanged
        # No token has less than a byte: most prompts need no counting.
        most_tokens = sum(len(message.text.encode()) + _MESSAGE_TOKENS for message in request.messages)
        if most_tokens + sampling.max_tokens > self.context_tokens:
            await self._check_length(request, model)
        fields = {
            "model": model.name,
            "messages": _as_openai(request.messages),
            "max_tokens": sampling.max_tokens,
            "stream": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
            "repetition_penalty": sampling.repetition_penalty,
        }
        response = await stack.enter_async_context(
            self._client.stream(
                "POST",
                "chat/completions",
                json={name: value for name, value in fields.items() if value is not None},  # some servers refuse a null
                headers={"X-Request-Id": request_id} if (request_id := logs.request_id.get()) else None,
            )
        )
        if response.status_code == httpx2.codes.BAD_REQUEST:  # a long template, perhaps
            await self._check_length(request, model)
        return response.raise_for_status()

    async def _check_length(self, request: GenerationRequest, model: _Model) -> None:
        """Raise PromptTooLong when the prompt leaves no room for the reply by vLLM's own count; other servers cannot be asked."""
        tokens = await self._count_prompt(request.messages, model)
        room = self.context_tokens - request.sampling.max_tokens
        if tokens is not None and tokens > room:
            raise PromptTooLong(tokens, room)

    async def _count_prompt(self, messages: Sequence[ChatMessage], model: _Model) -> int | None:
        """Return the tokens of a prompt in the model's template; None where vLLM cannot be asked."""
        if model.context_tokens is None:
            return None
        body = {"model": model.name, "messages": _as_openai(messages)}
        try:
            counted = (await self._ask("POST", self._tokenize_url, body)).json()
        except httpx2.HTTPStatusError:  # a gateway that lets /v1 through alone
            return None
        tokens = counted.get("count") if isinstance(counted, dict) else None
        return tokens if isinstance(tokens, int) else None

    async def _score(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        """Have vLLM read each reply after the prompt: it tells how probable every token was."""
        model = await self._known_model()
        prompt_tokens = await self._count_prompt(messages, model)
        if prompt_tokens is None:
            return None
        asking = (
            self._complete(
                model,
                [*_as_openai(messages), {"role": "assistant", "content": reply}],
                prompt_logprobs=0,
                add_generation_prompt=False,
            )
            for reply in replies
        )
        return tuple(read_likelihood(answer.json(), prompt_tokens) for answer in await asyncio.gather(*asking))

    async def _known_model(self) -> _Model:
        """Return the model that was found last, or find it."""
        if self._model is None:
            self._model = await self._find_model()
        return self._model

    async def _find_model(self) -> _Model:
        """Return the model to ask for; raises BackendUnavailable when it is not served."""
        answer = (await self._ask("GET", "models")).json()
        models = answer.get("data") if isinstance(answer, dict) else None
        for model in models if isinstance(models, list) else ():
            name = model.get("id") if isinstance(model, dict) else None
            if isinstance(name, str) and self._wanted in (None, name):
                context_tokens = model.get("max_model_len")
                return _Model(name, context_tokens if isinstance(context_tokens, int) else None)
        raise BackendUnavailable(f"vllm: does not serve {self._wanted or 'any model'}", retry_after_s=1)

    async def _complete(self, model: _Model, messages: list[dict[str, str]], **others: Any) -> httpx2.Response:
        """Ask for one token, the fewest that can be asked for."""
        return await self._ask("POST", "chat/completions", {"model": model.name, "messages": messages, "max_tokens": 1, **others})

    async def _ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        return (await self._client.request(method, url, json=body)).raise_for_status()

    @contextlib.contextmanager
    def _translated_and_watched(self) -> Iterator[None]:
        """Translate errors; a server that breaks a connection or leaves a person waiting is probed until it answers."""
        with translated():
            try:
                yield
            except (asyncio.TimeoutError, httpx2.TransportError):
                if self._probing is None and not self._closed:
                    logger.warning("vllm does not answer; it is used again when it does")
                    self._probing = asyncio.create_task(self._probe_until_answered())
                raise

    async def _probe_until_answered(self) -> None:
        while True:
            with contextlib.suppress(BackendError), translated():
                await asyncio.wait_for(self._probe(), _PROBE_TIMEOUT_S)
                break
            await asyncio.sleep(_PROBE_EVERY_S)
        logger.warning("vllm answers")
        self._probing = None
        self._known_ready = (time.monotonic(), True)

    async def _probe(self) -> None:
        """Get one token: a server whose engine hangs still lists its models."""
        self._model = await self._find_model()
        await self._complete(self._model, _as_openai(_PROBE))


def _as_openai(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in messages]
