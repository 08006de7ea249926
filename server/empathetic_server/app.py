"""The composition root: builds the application out of settings and engines. Nothing imports this but `__main__`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from .chat import ChatService
from .engines.crisis_head import read_crisis_head
from .engines.embedded_classifier import load_embedded
from .engines.manifest import Manifest, read_manifest
from .engines.protocols import EmotionClassifier, ReplyGenerator
from .errors import ArtifactError
from .keys import Keyring
from .live import LiveSessions
from .loop_delay import watch_loop
from .metrics import Metrics
from .page.mounting import ICON, MountedPage
from .page.mounting import PATH as PAGE_PATH
from .quotas import Quotas
from .relays import relay_through
from .responder import Responder
from .routes import context
from .routes.access import Access
from .routes.access import install as install_access
from .routes.chat import chat_router
from .routes.emotions import emotions_router
from .routes.openai import openai_router
from .routes.operations import operations_router
from .routes.security_headers import SecurityHeaders
from .routes.sessions import sessions_router
from .routes.websocket import websocket_router
from .safety import CrisisHead
from .sessions import session_store, shared_redis
from .sessions.memory_sessions import MemorySessions
from .sessions.protocols import SessionStore
from .settings import Settings

# Each holds a conversation in memory, some ten kilobytes: together less than the model.
_TEMPORARY_SESSIONS = 10_000
# The model of the clone and of the images; it speaks only for who asks for it (docs/responder-evaluation.md).
_RESPONDER = Path("models/responder/onnx")


def create_app(
    settings: Settings,
    *,
    classifier: EmotionClassifier | None = None,
    crisis_head: CrisisHead | None = None,
    generators: Sequence[ReplyGenerator] | None = None,
    sessions: SessionStore | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        settings: the configuration.
        classifier: an engine to use instead of the one that the settings name; the application closes it, and what follows.
        crisis_head: the learned score that belongs to that engine, if it has one.
        generators: engines to ask in turn for a reply; behind them stand the written replies.
        sessions: where conversations are kept.

    Raises:
        StartupError: the settings' models cannot be served, or the session store's URL is wrong.
    """
    metrics = Metrics()
    engine: EmotionClassifier
    if classifier is None:
        manifest = read_manifest(settings.model_repository)
        engine = _classifier(settings, manifest, metrics)
        crisis_head = read_crisis_head(manifest)
    else:
        engine = classifier
    writers = _generators(settings) if generators is None else generators
    store = sessions or session_store(settings.sessions, retention_days=settings.retention_days)
    connection = shared_redis(store)
    chat = ChatService(
        Responder(engine, crisis_head, writers, metrics, settings.locale),
        store,
        MemorySessions(max_sessions=_TEMPORARY_SESSIONS),
        metrics,
    )
    live = LiveSessions(chat, relay_through(connection), metrics, max_turns=settings.max_turns, retention_days=settings.retention_days)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.open()
        await live.open()
        watching = asyncio.create_task(watch_loop(metrics))
        if page is not None:
            await page.open()
        yield
        watching.cancel()
        if page is not None:
            await page.aclose()
        await live.aclose()
        for writer in writers:
            await writer.aclose()
        await engine.aclose()

    app = FastAPI(
        title="EmpatheticAI",
        version=_version(),
        description="Detects emotions in messages, 28 GoEmotions labels, multi-label, and answers a person with them in mind.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's own page loads its assets from another host
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.live = live
    app.state.page = page = MountedPage(app) if settings.page else None
    access = Access(
        None if settings.api_keys is None else Keyring(settings.api_keys.get_secret_value()),
        Quotas(settings.quota_per_key, settings.quota_per_address, connection),
        settings.allowed_origins,
    )
    install_access(app, access)
    context.install(app, metrics, lambda: live.is_leaving)
    app.add_middleware(SecurityHeaders, frame_origins=settings.allowed_origins)
    app.include_router(emotions_router(engine))
    app.include_router(chat_router(live))
    app.include_router(sessions_router(live))
    app.include_router(websocket_router(live, access))
    app.include_router(openai_router(live))
    app.include_router(operations_router(engine, writers, live, metrics, settings.locale))
    _serve_documentation(app)
    if page is not None:
        _serve_page(app, page)
    return app


async def try_services(settings: Settings) -> None:
    """Connect once to what the settings name, so that what is wrong is refused in one line and not by a failing application.

    Raises:
        StartupError: the session store cannot be opened, or Triton serves another model.
    """
    store = session_store(settings.sessions, retention_days=settings.retention_days)
    await store.open()
    await store.aclose()
    if settings.classifier == "triton":
        classifier = _classifier(settings, read_manifest(settings.model_repository), Metrics())
        try:
            await classifier.open()
        finally:
            await classifier.aclose()


def _classifier(settings: Settings, manifest: Manifest, metrics: Metrics) -> EmotionClassifier:
    """Return the engine that detects emotions; raises ArtifactError."""
    if settings.classifier == "triton":
        from .engines.triton_classifier import TritonClassifier  # noqa: PLC0415  # only who uses gRPC waits for its import

        return TritonClassifier(
            manifest,
            addresses=settings.triton_urls,
            max_batch_tokens=settings.batch_tokens,
            max_queued_texts=settings.max_queued_texts,
            metrics=metrics,
        )
    return load_embedded(manifest, settings, metrics)


def _generators(settings: Settings) -> tuple[ReplyGenerator, ...]:
    """Return the engines that write replies, the preferred one first.

    Raises:
        StartupError: the engine that the settings ask for is not there.
    """
    wanted = settings.generator
    writers: list[ReplyGenerator] = []
    if wanted == "vllm" or (wanted == "auto" and settings.vllm_url):
        from .engines.vllm_generator import VllmGenerator  # noqa: PLC0415  # it takes a second to import: only who uses it waits

        url = settings.vllm_url or "http://127.0.0.1:8100/v1"
        writers.append(VllmGenerator(url, model=settings.vllm_model, context_tokens=settings.context_tokens, api_key=settings.vllm_api_key))
    if wanted == "embedded" or (wanted == "auto" and settings.responder):
        try:
            from .engines.genai_generator import GenaiGenerator  # noqa: PLC0415  # not installable everywhere
        except ImportError as exc:
            raise ArtifactError("the embedded generator needs the package onnxruntime-genai: pip install onnxruntime-genai") from exc
        writers.append(GenaiGenerator(settings.responder or _RESPONDER, threads=settings.threads))
    return tuple(writers)


def _serve_documentation(app: FastAPI) -> None:
    """Serve Swagger UI at /docs with the assets that the package fastapi-swagger carries."""
    app.mount("/docs/assets", StaticFiles(packages=[("fastapi_swagger", "resources")]))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="EmpatheticAI API",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )


def _serve_page(app: FastAPI, page: MountedPage) -> None:
    """Serve the page at /ui/, where / leads."""
    app.mount(PAGE_PATH, page)

    async def to_page() -> RedirectResponse:
        return RedirectResponse(f"{PAGE_PATH}/")

    async def icon() -> FileResponse:
        return FileResponse(ICON, media_type="image/svg+xml")

    app.add_api_route("/", to_page, include_in_schema=False)
    app.add_api_route(PAGE_PATH, to_page, include_in_schema=False)
    app.add_api_route("/favicon.ico", icon, include_in_schema=False)


def _version() -> str:
    try:
        return version("empathetic-ai")
    except PackageNotFoundError:  # run from a clone by the Makefile, without an installation
        return "0+clone"
