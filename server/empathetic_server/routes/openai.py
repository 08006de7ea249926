"""`/v1/chat/completions` and `/v1/models` in OpenAI's shapes. The conversation is the client's: nothing is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ..chat import new_reply_id
from ..errors import InvalidRequest
from ..events import Delta
from ..live import LiveSessions
from ..responder import Answer, Answering
from ..sessions.protocols import Message
from ..streams import until
from .access import refuse_over_quota
from .chat_schemas import SESSION_ERRORS, body_of
from .context import disconnected, json_response, read_body, send_in_time, unless_disconnected
from .decoding import decode
from .openai_schemas import MODEL, CompletionRequest, sampling_of, texts_of


def openai_router(live: LiveSessions) -> APIRouter:
    """Build the routes."""
    router = APIRouter(default_response_class=Response)
    started = int(time.time())

    @router.get("/v1/models", summary="List the models")
    async def get_models() -> Response:
        model = {"id": MODEL, "object": "model", "created": started, "owned_by": "empathetic-ai"}
        return json_response({"object": "list", "data": [model]})

    @router.post(
        "/v1/chat/completions",
        summary="Complete a chat, OpenAI's way",
        responses={**SESSION_ERRORS},
        openapi_extra=body_of(CompletionRequest),
    )
    async def post_completion(request: Request) -> Response:
        asked = decode(await read_body(request), CompletionRequest)
        messages = _conversation(asked)
        refuse_over_quota(request, live, messages)
        stop = asyncio.Event()
        answering = live.converse(messages, reply_id=new_reply_id(), stop=stop, sampling=sampling_of(asked))
        head = {"id": f"chatcmpl-{new_reply_id()[4:]}", "created": int(time.time()), "model": MODEL}
        if not asked.stream:
            async with aclosing(answering):
                return json_response(await unless_disconnected(request, _complete(answering, head)))
        # The first words come before the status line, so that a generator's failure still is an HTTP error.
        first = await unless_disconnected(request, _first_words(answering))
        return _CompletionStream(first, answering, head, include_usage=bool(asked.stream_options and asked.stream_options.include_usage))

    return router


def _conversation(asked: CompletionRequest) -> tuple[Message, ...]:
    """Return the client's messages; its instructions are the user's words here, for nothing of a client enters the system prompt."""
    roles = {"assistant": "assistant"}
    texts = [(roles.get(message.role, "user"), text) for message in asked.messages if (text := texts_of(message))]
    if not texts or asked.messages[-1].role != "user" or not texts_of(asked.messages[-1]):
        raise InvalidRequest("messages: the last one must be the user's and not empty")
    return tuple(Message(f"msg_{index}", "assistant" if role == "assistant" else "user", text) for index, (role, text) in enumerate(texts))


async def _first_words(answering: AsyncGenerator[Answering, None]) -> list[Answering]:
    """Return what happens up to the first piece of the reply."""
    happenings: list[Answering] = []
    async for happening in answering:
        happenings.append(happening)
        if isinstance(happening, Delta | Answer):
            break
    return happenings


async def _complete(answering: AsyncGenerator[Answering, None], head: dict[str, Any]) -> dict[str, Any]:
    async for happening in answering:
        if isinstance(happening, Answer):
            answer = happening
    choice = {"index": 0, "message": {"role": "assistant", "content": answer.text}, "finish_reason": _finish(answer), "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer), "empathetic": _extras(answer)}


class _CompletionStream(Response):
    """A completion as OpenAI's Server-Sent Events; a client that leaves aborts it."""

    media_type = "text/event-stream"

    def __init__(self, first: list[Answering], rest: AsyncGenerator[Answering, None], head: dict[str, Any], *, include_usage: bool) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._head = {**head, "object": "chat.completion.chunk"}
        self._include_usage = include_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in until(disconnected(receive), self._chunks()):
                body = b"data: " + orjson.dumps(chunk) + b"\n\n" if chunk else b"data: [DONE]\n\n"
                await send_in_time(send, {"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Yield the chunks, then None."""
        yield self._chunk({"role": "assistant", "content": ""})
        async for happening in self._events():
            if isinstance(happening, Delta):
                yield self._chunk({"content": happening.text})
            elif isinstance(happening, Answer):
                yield {**self._chunk({}, _finish(happening)), "empathetic": _extras(happening)}
                if self._include_usage:
                    yield {**self._head, "choices": [], "usage": _usage(happening)}
        yield None

    async def _events(self) -> AsyncGenerator[Answering, None]:
        for happening in self._first:
            yield happening
        async for happening in self._rest:
            yield happening

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}]}


def _finish(answer: Answer) -> str:
    """OpenAI's clients know two reasons; ours is under `empathetic`."""
    return "length" if answer.finish_reason == "length" else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    """Token counts by the engine's counter; an estimate where the engine's tokenizer is not at hand."""
    total = answer.prompt_tokens + answer.reply_tokens
    return {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.reply_tokens, "total_tokens": total}


def _extras(answer: Answer) -> dict[str, Any]:
    return {
        "emotion": answer.emotion,
        "safety": answer.safety.as_dict(),
        "trajectory": answer.trajectory.as_dict(),
        "finish_reason": answer.finish_reason,
        "timings": answer.timings,
    }
