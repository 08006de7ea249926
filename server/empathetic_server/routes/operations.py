"""Liveness, readiness and metrics. They ask the engines and decide nothing."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ..engines.protocols import EmotionClassifier
from ..metrics import Metrics
from .context import json_response


def operations_router(classifier: EmotionClassifier, metrics: Metrics, is_draining: Callable[[], bool]) -> APIRouter:
    """Build `/livez`, `/readyz` and `/metrics`."""
    router = APIRouter()

    @router.get("/livez", summary="The process is up", response_class=Response)
    async def livez() -> Response:
        return json_response({"status": "ok"})

    @router.get("/readyz", summary="The server takes work", response_class=Response)
    async def readyz() -> Response:
        ready = classifier.ready()
        status = "draining" if is_draining() else ("ready" if ready else "degraded")
        engines = {"classifier": {"name": classifier.name, "ready": ready}}
        return json_response({"status": status, "engines": engines}, 503 if status == "draining" else 200)

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics_text() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
