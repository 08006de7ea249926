"""The bodies of `POST /v1/emotions`, for validation and for `/openapi.json`. Knows no engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TEXTS = 1024
# Up to this many texts a person is taken to be waiting.
INTERACTIVE_TEXTS = 8
DEFAULT_TIMEOUT_MS = 30_000


class EmotionsRequest(BaseModel):
    """The body of `POST /v1/emotions`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    input: str | list[str] = Field(description=f"one text, or 1 to {MAX_TEXTS}")
    top_k: int | None = Field(default=None, ge=1, le=28, description="most emotions for a text")
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="lowest score that counts, instead of the calibrated one of each label"
    )
    scores: bool = Field(default=False, description="also return all scores")
    priority: Literal["interactive", "bulk"] | None = Field(
        default=None, description=f"default: interactive up to {INTERACTIVE_TEXTS} texts, else bulk"
    )
    timeout_ms: int | None = Field(default=None, ge=1, le=600_000, description=f"default: {DEFAULT_TIMEOUT_MS}")


class EmotionScore(BaseModel):
    """A label and its probability."""

    model_config = ConfigDict(extra="forbid")

    label: str
    score: float = Field(ge=0, le=1, description="independent of the other labels' scores")


class TextEmotions(BaseModel):
    """What one text expresses."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(description="position in `input`")
    primary: str = Field(description="the label with the highest score")
    confident: bool = Field(description="whether any label reached its threshold")
    emotions: list[EmotionScore] = Field(description="labels at or above their threshold, highest first; else the best one alone")
    valence: float = Field(ge=-1, le=1, description="from unpleasant to pleasant")
    truncated: bool = Field(description="the text was longer than the model's window")
    scores: dict[str, float] | None = Field(default=None, description="all labels, when `scores` was asked for")


class Usage(BaseModel):
    """What was classified."""

    model_config = ConfigDict(extra="forbid")

    texts: int
    tokens: int


class EmotionsResponse(BaseModel):
    """The answer of `POST /v1/emotions`."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"]
    model: str
    data: list[TextEmotions]
    usage: Usage


class ErrorDetail(BaseModel):
    """What went wrong; the message holds nothing of the request's text."""

    code: str
    message: str
    retryable: bool
    request_id: str


class ErrorResponse(BaseModel):
    """The body of every error."""

    error: ErrorDetail


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "malformed_request"},
    413: {"model": ErrorResponse, "description": "too_large"},
    422: {"model": ErrorResponse, "description": "invalid_request"},
    429: {"model": ErrorResponse, "description": "overloaded, with Retry-After"},
    500: {"model": ErrorResponse, "description": "internal"},
    503: {"model": ErrorResponse, "description": "backend_unavailable, with Retry-After"},
    504: {"model": ErrorResponse, "description": "deadline_exceeded"},
}
