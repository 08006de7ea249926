"""`/v1/sessions`: begin, read, rename, delete and export conversations; feedback, another reply, another wording."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from .. import persona
from ..chat import Edit, Regenerate
from ..errors import InvalidRequest
from ..live import LiveSessions
from ..names import validate_name
from ..responder import trajectory_of
from ..sessions.protocols import Conversation, Feedback
from ..transcripts import to_json, to_markdown
from .access import caller_of
from .chat_schemas import (
    SESSION_ERRORS,
    ChatResponse,
    EditRequest,
    FeedbackRequest,
    FeedbackResponse,
    RegenerateRequest,
    SessionCreated,
    SessionPatch,
    SessionRequest,
    SessionResponse,
    body_of,
)
from .context import json_response, read_body
from .decoding import decode
from .turns import answer

_SESSION = "/v1/sessions/{session_id}"
_TURN: dict[int | str, dict[str, Any]] = {200: {"model": ChatResponse, "content": {"text/event-stream": {}}}, **SESSION_ERRORS}


def sessions_router(live: LiveSessions) -> APIRouter:
    """Build the routes."""
    router = APIRouter(default_response_class=Response)

    @router.post(
        "/v1/sessions",
        summary="Begin a conversation",
        responses={200: {"model": SessionCreated}, **SESSION_ERRORS},
        openapi_extra=body_of(SessionRequest),
    )
    async def post_session(request: Request) -> Response:
        asked = decode(await read_body(request) or b"{}", SessionRequest)
        session = await live.chat.create_session(temporary=asked.temporary, owner=caller_of(request).owner)
        created = {"session_id": session.session_id, "greeting": session.greeting, "disclosure": persona.DISCLOSURE}
        return json_response(created)

    @router.get(_SESSION, summary="Read a conversation", responses={200: {"model": SessionResponse}, **SESSION_ERRORS})
    async def get_session(session_id: str) -> Response:
        return json_response(_encode(await live.chat.store(session_id).load(session_id)))

    @router.patch(
        _SESSION,
        summary="Change or erase the person's name",
        responses={200: {"model": SessionResponse}, **SESSION_ERRORS},
        openapi_extra=body_of(SessionPatch),
    )
    async def patch_session(request: Request, session_id: str) -> Response:
        asked = decode(await read_body(request), SessionPatch)
        name = None if asked.user_name is None else validate_name(asked.user_name)
        store = live.chat.store(session_id)
        await store.set_user_name(session_id, name)
        return json_response(_encode(await store.load(session_id)))

    @router.delete(_SESSION, summary="Delete a conversation", status_code=204, responses={**SESSION_ERRORS})
    async def delete_session(session_id: str) -> Response:
        await live.delete(session_id)
        return Response(status_code=204)

    @router.get(
        _SESSION + "/export",
        summary="Export a conversation",
        responses={200: {"content": {"application/json": {}, "text/markdown": {}}}, **SESSION_ERRORS},
        openapi_extra={
            "parameters": [{"name": "format", "in": "query", "schema": {"type": "string", "enum": ["json", "markdown"], "default": "json"}}]
        },
    )
    async def export_session(request: Request, session_id: str) -> Response:
        wanted = request.query_params.get("format", "json")
        if wanted not in ("json", "markdown"):
            raise InvalidRequest("format: must be json or markdown")
        conversation = await live.chat.store(session_id).load(session_id)
        suffix = "json" if wanted == "json" else "md"
        headers = {"content-disposition": f'attachment; filename="conversation.{suffix}"'}
        if wanted == "json":
            return json_response(to_json(conversation), headers=headers)
        return Response(to_markdown(conversation), media_type="text/markdown", headers=headers)

    @router.post(
        _SESSION + "/feedback",
        summary="Say what you think of a reply",
        responses={200: {"model": FeedbackResponse}, **SESSION_ERRORS},
        openapi_extra=body_of(FeedbackRequest),
    )
    async def post_feedback(request: Request, session_id: str) -> Response:
        asked = decode(await read_body(request), FeedbackRequest)
        await live.chat.store(session_id).add_feedback(session_id, Feedback(asked.message_id, asked.rating, asked.comment))
        return json_response(asked.model_dump())

    @router.post(_SESSION + "/regenerate", summary="Ask for another reply", responses=_TURN, openapi_extra=body_of(RegenerateRequest))
    async def post_regenerate(request: Request, session_id: str) -> Response:
        asked = decode(await read_body(request), RegenerateRequest)
        return await answer(request, live, session_id, Regenerate(asked.reply_id), stream=asked.stream)

    @router.put(
        _SESSION + "/messages/{message_id}",
        summary="Change a message and ask anew; what followed it is dropped",
        responses=_TURN,
        openapi_extra=body_of(EditRequest),
    )
    async def put_message(request: Request, session_id: str, message_id: str) -> Response:
        asked = decode(await read_body(request), EditRequest)
        return await answer(request, live, session_id, Edit(message_id, asked.text), stream=asked.stream)

    return router


def _encode(conversation: Conversation) -> dict[str, Any]:
    """Return the object of `GET /v1/sessions/{session_id}`; fields that a message does not have are left out."""
    messages = []
    for message in conversation.messages:
        entry: dict[str, Any] = {
            "message_id": message.message_id,
            "role": message.role,
            "text": message.text,
            "created_at": message.created_at,
        }
        optional = {"emotion": message.emotion, "safety": message.safety, "finish_reason": message.finish_reason}
        messages.append(entry | {name: value for name, value in optional.items() if value is not None})
    session = conversation.session
    return {
        "session_id": session.session_id,
        "user_name": session.user_name,
        "messages": messages,
        "trajectory": trajectory_of(conversation.messages).as_dict(),
    }
