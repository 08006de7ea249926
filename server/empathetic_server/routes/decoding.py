"""Turns a request's bytes into a checked object, and what is wrong with it into one sentence without any of its text."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import InvalidRequest, MalformedRequest
from ..texts import clean_json

M = TypeVar("M", bound=BaseModel)


def decode(body: bytes | str, model: type[M]) -> M:
    """Decode JSON, clean every string in it, and check it against a model.

    Raises:
        MalformedRequest: not JSON, not UTF-8, or nested too deep.
        InvalidRequest: a field is wrong; the message names it.
    """
    value = decode_json(body)
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as exc:
        raise invalid(exc, set(model.model_fields)) from None  # the original carries the user's text


def decode_json(body: bytes | str) -> Any:
    """Decode JSON by the standard library, which alone takes lone surrogates, and clean every string in it.

    Raises:
        MalformedRequest: not JSON, not UTF-8, or nested too deep.
    """
    try:
        return clean_json(json.loads(body, parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        raise MalformedRequest("not valid JSON in UTF-8, or nested too deep") from None


def decode_frame(text: str, frames: TypeAdapter[M], known: set[str]) -> M:
    """Decode one WebSocket frame; raises as `decode` does."""
    value = decode_json(text)
    try:
        return frames.validate_python(value, strict=True)
    except ValidationError as exc:
        raise invalid(exc, known) from None


def invalid(exc: ValidationError, known: set[str]) -> InvalidRequest:
    """Name the first wrong field of a body; a name that is not ours is not repeated."""
    error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [part for part in error["loc"] if isinstance(part, int) or part in known]
    if error["type"] == "extra_forbidden":
        return InvalidRequest("the body has an unknown field")
    if error["type"].startswith("union_tag"):
        return InvalidRequest("type: must be one of the client's frames")
    if not path:
        return InvalidRequest("the body must be a JSON object with the documented fields")
    name = str(path[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return InvalidRequest(f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and infinity are not JSON")
