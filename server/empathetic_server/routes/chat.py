"""`POST /v1/chat`: one message in, one reply out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from ..chat import Say
from ..errors import BackendError, RateLimited
from ..live import LiveSessions
from .access import caller_of, owned
from .chat_schemas import SESSION_ERRORS, ChatRequest, ChatResponse, body_of
from .context import read_body
from .decoding import decode
from .turns import answer


def chat_router(live: LiveSessions) -> APIRouter:
    """Build the route."""
    router = APIRouter()

    @router.post(
        "/v1/chat",
        summary="Write to Mira",
        response_class=Response,
        responses={200: {"model": ChatResponse, "content": {"text/event-stream": {}}}, **SESSION_ERRORS},
        openapi_extra=body_of(ChatRequest),
    )
    async def post_chat(request: Request) -> Response:
        asked = decode(await read_body(request), ChatRequest)
        caller = caller_of(request)
        if asked.session_id is not None:
            return await answer(request, live, owned(asked.session_id, caller), Say(asked.message), stream=asked.stream)
        created = await live.chat.create_session(temporary=asked.temporary, owner=caller.owner)
        try:
            return await answer(request, live, created.session_id, Say(asked.message), stream=asked.stream)
        except (BackendError, RateLimited):  # the message was refused, and the client never learns of the session
            await live.delete(created.session_id)
            raise

    return router
