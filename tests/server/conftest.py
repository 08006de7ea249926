from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from empathetic_server import Settings, create_app
from empathetic_server.engines.embedded_classifier import EmbeddedClassifier
from empathetic_server.engines.manifest import read_manifest
from empathetic_server.engines.protocols import Classification, Priority
from empathetic_server.errors import BackendUnavailable
from empathetic_server.metrics import Metrics
from numpy.typing import NDArray

from tests.server.tiny_artifact import LABELS, build_artifact
from tests.tritons import Triton, tiny_repository, tritonserver


class FakeClassifier:
    """Scores a text by its own length alone; counts what it was asked."""

    name = "fake"
    labels = LABELS
    thresholds = (0.5,) * len(LABELS)
    model_version = "7-fake"

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.priorities: list[Priority] = []
        self.closed = False

    async def open(self) -> None:
        pass

    async def classify(self, texts: Sequence[str], *, priority: Priority, timeout_s: float) -> Classification:
        if self.closed:
            raise BackendUnavailable("closed", retry_after_s=1)
        self.priorities.append(priority)
        if self.failure:
            raise self.failure
        rows = [[1 / (1 + len(text) + label) for label in range(len(LABELS))] for text in texts]
        embeddings = np.array([[len(text) / 1000] for text in texts], np.float32)
        return Classification(np.array(rows, np.float32), embeddings, (3,) * len(texts), (False,) * len(texts), 0.1, 0.2, 0.3)

    def ready(self) -> bool:
        return not self.closed and self.failure is None

    async def aclose(self) -> None:
        self.closed = True


class GatedClassifier(EmbeddedClassifier):
    """The embedded engine, whose compute waits until the test opens the gate; keeps every batch's shape and number of cores."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.gate = threading.Event()
        self.computing = threading.Event()
        self.shapes: list[tuple[int, ...]] = []
        self.cores: list[int] = []
        super().__init__(*args, **kwargs)

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], cores: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.shapes.append(ids.shape)
        self.cores.append(cores)
        self.computing.set()
        assert self.gate.wait(30)
        return super()._run(ids, mask, cores)

    async def aclose(self) -> None:
        self.gate.set()
        await super().aclose()

    async def has_waiting(self, texts: int) -> None:
        """Wait until so many texts wait behind the gate."""
        while self._queue.waiting("bulk") + self._queue.waiting("interactive") != texts:  # noqa: ASYNC110  # a queue of threads
            await asyncio.sleep(0.01)

    async def computing_now(self) -> None:
        """Wait until a batch is in the gate."""
        assert await asyncio.to_thread(self.computing.wait, 30)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp("repository"))


def engine_arguments(repository: Path, **changes: Any) -> dict[str, Any]:
    defaults = {"threads": 1, "max_batch_tokens": 64, "max_queued_texts": 32, "metrics": Metrics()}
    return {"manifest": read_manifest(repository), **defaults, **changes}


@asynccontextmanager
async def serving(**kwargs: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of an application in this process; its engine is closed at the end."""
    app = create_app(kwargs.pop("settings", Settings(page=False, sessions="memory://")), **kwargs)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository for Triton, of a tiny classifier."""
    return tiny_repository(tmp_path_factory.mktemp("triton"))


@pytest.fixture(scope="module")
def triton(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A real Triton on that repository."""
    with tritonserver(tiny, tmp_path_factory.mktemp("log") / "triton.log") as started:
        yield started
