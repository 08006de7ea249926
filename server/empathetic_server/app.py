"""The composition root: builds the application out of settings and engines. Nothing imports this but `__main__`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from .engines.embedded_classifier import load_embedded
from .engines.protocols import EmotionClassifier
from .metrics import Metrics
from .routes import context
from .routes.emotions import emotions_router
from .routes.operations import operations_router
from .settings import Settings


def create_app(settings: Settings, *, classifier: EmotionClassifier | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: the configuration.
        classifier: an engine to use instead of the one that the settings name; the application closes it.

    Raises:
        ArtifactError: the settings' model cannot be served.
    """
    metrics = Metrics()
    engine = classifier or load_embedded(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.aclose()

    app = FastAPI(
        title="EmpatheticAI",
        version=_version(),
        description="Detects emotions in messages: 28 GoEmotions labels, multi-label.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's own page loads its assets from another host
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.draining = False
    context.install(app, metrics)
    app.include_router(emotions_router(engine))
    app.include_router(operations_router(engine, metrics, lambda: bool(app.state.draining)))
    _serve_documentation(app)
    return app


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


def _version() -> str:
    try:
        return version("empathetic-ai")
    except PackageNotFoundError:  # run from a clone by the Makefile, without an installation
        return "0+clone"
