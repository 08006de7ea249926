"""The bodies and frames of the chat, for validation and for `/openapi.json`. Knows no conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .schemas import ERROR_RESPONSES, ErrorResponse, TextEmotions

MAX_MESSAGE_CHARS = 8000
MAX_FRAME_BYTES = 64 * 1024
_MAX_SEQ = 2**53  # the largest number that every JSON reader keeps exact

MessageText = Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_CHARS)]
Identifier = Annotated[str, Field(min_length=1, max_length=128)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChatRequest(_Body):
    """The body of `POST /v1/chat`."""

    message: MessageText = Field(description="what the person writes")
    session_id: Identifier | None = Field(default=None, description="the conversation; a new one by default")
    temporary: bool = Field(default=False, description="a new conversation is kept in memory alone and never written")
    stream: bool = Field(default=False, description="answer with Server-Sent Events")


class SessionRequest(_Body):
    """The body of `POST /v1/sessions`."""

    temporary: bool = Field(default=False, description="keep it in memory alone and never write it")


class SessionPatch(_Body):
    """The body of `PATCH /v1/sessions/{session_id}`."""

    user_name: str | None = Field(description="what the person wants to be called; null erases it")


class FeedbackRequest(_Body):
    """The body of `POST /v1/sessions/{session_id}/feedback`."""

    message_id: Identifier
    rating: Literal["up", "down"]
    comment: Annotated[str, Field(max_length=2000)] | None = None


class RegenerateRequest(_Body):
    """The body of `POST /v1/sessions/{session_id}/regenerate`."""

    reply_id: Identifier
    stream: bool = False


class EditRequest(_Body):
    """The body of `PUT /v1/sessions/{session_id}/messages/{message_id}`."""

    text: MessageText
    stream: bool = False


class Hello(_Body):
    """Begins a connection."""

    type: Literal["hello"]
    session_id: Identifier | None = None
    last_seq: Annotated[int, Field(ge=0, le=_MAX_SEQ)] | None = None
    api_key: str | None = None
    temporary: bool = False


class MessageFrame(_Body):
    """A message of the person."""

    type: Literal["message"]
    text: MessageText
    client_id: Identifier


class StopFrame(_Body):
    """Aborts the running reply."""

    type: Literal["stop"]


class RegenerateFrame(_Body):
    """Asks for another reply."""

    type: Literal["regenerate"]
    reply_id: Identifier


class EditFrame(_Body):
    """Changes a message of the person."""

    type: Literal["edit"]
    message_id: Identifier
    text: MessageText


class PingFrame(_Body):
    """Asks for a sign of life."""

    type: Literal["ping"]


class Resource(_Body):
    """Somebody who can help."""

    name: str
    contact: str
    url: str


class Safety(_Body):
    """What the safety check found."""

    level: Literal["none", "concern", "high", "imminent"]
    resources: list[Resource]


class TrajectoryTurn(_Body):
    """One message of the person; null where no classifier answered."""

    message_id: str
    primary: str | None
    valence: float | None


class TrajectoryResponse(_Body):
    """How the person's emotions change."""

    turns: list[TrajectoryTurn]
    state: Literal["unknown", "positive", "negative", "improving", "declining", "neutral"]
    stage: Literal["initial", "middle", "advanced"]


class Timings(_Body):
    """Milliseconds from the message; null for what did not happen."""

    classify_ms: float | None
    first_token_ms: float | None
    total_ms: float | None


class ChatResponse(_Body):
    """The answer of a turn."""

    session_id: str
    message_id: str = Field(description="the user's message")
    reply_id: str
    reply: str
    emotion: TextEmotions | None
    safety: Safety
    trajectory: TrajectoryResponse
    finish_reason: Literal["stop", "length", "stopped", "crisis", "fallback", "error"]
    timings: Timings


class SessionCreated(_Body):
    """The answer of `POST /v1/sessions`."""

    session_id: str
    greeting: str
    disclosure: str


class StoredMessage(_Body):
    """One message of a conversation."""

    message_id: str
    role: Literal["user", "assistant"]
    text: str
    created_at: str
    emotion: TextEmotions | None = None
    safety: str | None = None
    finish_reason: str | None = None


class SessionResponse(_Body):
    """The answer of `GET /v1/sessions/{session_id}`."""

    session_id: str
    user_name: str | None
    messages: list[StoredMessage]
    trajectory: TrajectoryResponse


class FeedbackResponse(_Body):
    """Feedback as it is stored."""

    message_id: str
    rating: Literal["up", "down"]
    comment: str | None


SESSION_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERROR_RESPONSES,
    404: {"model": ErrorResponse, "description": "not_found"},
    409: {"model": ErrorResponse, "description": "session_busy"},
}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body; the routes read it themselves, to answer errors in one voice."""
    schema = model.model_json_schema()
    schema = _inline(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions where they are referred to: inside an OpenAPI document, references begin at its root."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return {name: _inline(value, definitions) for name, value in schema.items()}
    return [_inline(item, definitions) for item in schema] if isinstance(schema, list) else schema
