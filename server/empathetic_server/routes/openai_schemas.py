"""The part of OpenAI's chat request that is read. What else a client sends is ignored, never forwarded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..engines.protocols import Sampling
from ..responder import PERSONA_SAMPLING

MODEL = "empathetic-chat"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class ContentPart(_Part):
    """A piece of a message; pieces that are no text are ignored."""

    type: str
    text: str | None = None


class CompletionMessage(_Part):
    """One message. The client's instructions (system, developer) are read as the user's words."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart] | None = None


class StreamOptions(_Part):
    """What a stream adds."""

    include_usage: bool = False


class CompletionRequest(_Part):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=2048)]
    model: str | None = Field(default=None, description="any name; there is one model")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None


def texts_of(message: CompletionMessage) -> str:
    """Return a message's text."""
    if isinstance(message.content, list):
        return "\n".join(part.text for part in message.content if part.type == "text" and part.text)
    return message.content or ""


def sampling_of(asked: CompletionRequest) -> Sampling:
    """Return how tokens are drawn; a reply is never longer than the persona's."""
    limit = asked.max_completion_tokens or asked.max_tokens or PERSONA_SAMPLING.max_tokens
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    return Sampling(
        max_tokens=min(limit, PERSONA_SAMPLING.max_tokens),
        temperature=PERSONA_SAMPLING.temperature if asked.temperature is None else asked.temperature,
        top_p=PERSONA_SAMPLING.top_p if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stop=tuple(text for text in stop if text),
    )
