"""`POST /v1/emotions`. Decodes, asks the engine, encodes; the decisions are made in `emotions.py`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from ..emotions import read_emotions
from ..engines.protocols import Classification, EmotionClassifier
from ..errors import InvalidRequest, MalformedRequest, TooLarge
from .context import json_response, read_body, unless_disconnected
from .schemas import DEFAULT_TIMEOUT_MS, ERROR_RESPONSES, INTERACTIVE_TEXTS, MAX_TEXTS, EmotionsRequest, EmotionsResponse


class _PlainRoute(APIRoute):
    """A route whose endpoint takes the request as it came: FastAPI need not look for parameters, which cost each answer time."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        return self.endpoint


def emotions_router(classifier: EmotionClassifier) -> APIRouter:
    """Build the route on an engine."""
    router = APIRouter(route_class=_PlainRoute)

    @router.post(
        "/v1/emotions",
        summary="Detect emotions in texts",
        response_class=Response,
        responses={200: {"model": EmotionsResponse}, **ERROR_RESPONSES},
        openapi_extra=_OPENAPI,
    )
    async def post_emotions(request: Request) -> Response:
        asked = parse(await read_body(request))
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        found = await unless_disconnected(
            request,
            classifier.classify(
                texts,
                priority=asked.priority or ("interactive" if len(texts) <= INTERACTIVE_TEXTS else "bulk"),
                timeout_s=(asked.timeout_ms or DEFAULT_TIMEOUT_MS) / 1000,
            ),
        )
        headers = {"server-timing": _server_timing(found), "x-model-version": classifier.model_version}
        return json_response(encode(found, classifier, asked), headers=headers)

    return router


def parse(body: bytes) -> EmotionsRequest:
    """Decode and check a body.

    Raises:
        MalformedRequest, TooLarge, InvalidRequest: the message names the field and holds none of its text.
    """
    try:
        asked = EmotionsRequest.model_validate_json(body)
    except ValidationError as exc:
        raise _translate(exc) from None  # the original carries the user's text
    if isinstance(asked.input, str):
        if not asked.input.strip():
            raise InvalidRequest("input[0] is empty or blank")
        return asked
    if len(asked.input) > MAX_TEXTS:
        raise TooLarge(f"input holds {len(asked.input)} texts; at most {MAX_TEXTS} are allowed")
    if not asked.input:
        raise InvalidRequest("input holds no text")
    for index, text in enumerate(asked.input):
        if not text.strip():
            raise InvalidRequest(f"input[{index}] is empty or blank")
    return asked


def encode(found: Classification, classifier: EmotionClassifier, asked: EmotionsRequest) -> dict[str, Any]:
    """Build the answer to a request."""
    labels: Sequence[str] = classifier.labels
    thresholds = classifier.thresholds if asked.threshold is None else (asked.threshold,) * len(labels)
    data = []
    for index, row in enumerate(found.probabilities.tolist()):
        reading = read_emotions(row, labels, thresholds, asked.top_k)
        entry: dict[str, Any] = {"index": index, **reading.as_dict(), "truncated": found.truncated[index]}
        if asked.scores:
            entry["scores"] = {label: round(score, 6) for label, score in zip(labels, row, strict=True)}
        data.append(entry)
    usage = {"texts": len(data), "tokens": sum(found.tokens)}
    return {"object": "list", "model": "emotion-classifier", "data": data, "usage": usage}


def _translate(exc: ValidationError) -> InvalidRequest | MalformedRequest:
    """Name the first wrong field. Pydantic lists an error per branch of `str | list[str]`: the deepest says most."""
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return MalformedRequest("the body is not valid JSON in UTF-8")
    worst = max(errors, key=lambda error: len(error["loc"]))
    path = [part for part in worst["loc"] if part not in {"str", "list[str]"}]
    if not path:
        return InvalidRequest("the body must be a JSON object")
    if path == ["input"]:
        return InvalidRequest("input: must be a string or a list of strings")
    name = str(path[0]) + "".join(f"[{part}]" for part in path[1:])
    known = name.split("[")[0] in EmotionsRequest.model_fields
    return InvalidRequest(f"{name}: {worst['msg'][0].lower()}{worst['msg'][1:]}" if known else "the body has an unknown field")


def _server_timing(found: Classification) -> str:
    return f"tokenize;dur={found.tokenize_ms:.3f}, queue;dur={found.queue_ms:.3f}, compute;dur={found.compute_ms:.3f}"


_SCHEMA = EmotionsRequest.model_json_schema()
_OPENAPI = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}
