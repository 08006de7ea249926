"""Liveness, readiness and metrics. They ask the engines and decide nothing."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ..engines.protocols import EmotionClassifier, ReplyGenerator
from ..live import LiveSessions
from ..metrics import Metrics
from ..safety import Locale, protocol_page
from .context import json_response


def operations_router(
    classifier: EmotionClassifier, generators: Sequence[ReplyGenerator], live: LiveSessions, metrics: Metrics, locale: Locale
) -> APIRouter:
    """Build `/livez`, `/readyz`, `/metrics` and `/crisis-protocol`."""
    router = APIRouter()

    @router.get("/livez", summary="The process is up", response_class=Response)
    async def livez() -> Response:
        return json_response({"status": "ok"})

    async def ask_engines() -> dict[str, dict[str, str | bool]]:
        # The written replies stand behind every generator; alone, they are the generator.
        generator: dict[str, str | bool] = {"name": "written", "ready": True}
        if generators:
            generator = {"name": generators[0].name, "ready": await generators[0].ready()}
        return {
            "classifier": {"name": classifier.name, "ready": classifier.ready()},
            "generator": generator,
            "sessions": {"name": live.chat.store_name, "ready": await live.chat.ready()},
        }

    @router.get("/readyz", summary="The server takes work", response_class=Response)
    async def readyz() -> Response:
        engines = await ask_engines()
        all_ready = all(engine["ready"] for engine in engines.values())
        status = "draining" if live.is_leaving else ("ready" if all_ready else "degraded")
        unusable = status == "draining" or not engines["sessions"]["ready"]
        return json_response({"status": status, "engines": engines}, 503 if unusable else 200)

    page = protocol_page(locale)

    @router.get("/crisis-protocol", summary="What happens when somebody may be in danger", response_class=HTMLResponse)
    async def crisis_protocol() -> HTMLResponse:
        return HTMLResponse(page)

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics_text() -> Response:
        for part, engine in (await ask_engines()).items():
            metrics.engine_ready.labels(part, engine["name"]).set(bool(engine["ready"]))
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
