"""Replies from a model inside the server process. Knows no conversation and no HTTP.

One thread writes one reply after the other; its tokens cross into the event loop as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import ArtifactError, BackendError, BackendUnavailable, DeadlineExceeded
from .genai_model import GenaiModel
from .protocols import ChatMessage, Chunk, GenerationRequest, Likelihood, PromptStyle

logger = logging.getLogger(__name__)

# As long as a person waits; replies before this one count, too.
_TOKEN_TIMEOUT_S = 30.0
# What `manifest.json` calls the prompts that this server can build; a model without it was not made by this project.
_PROMPT_STYLES: dict[str | None, PromptStyle] = {None: "instructions", "note-1": "note"}


class GenaiGenerator:
    """Streams replies from a model on this machine.

    Args:
        directory: what onnxruntime-genai loads: genai_config.json, the model, and a tokenizer with a chat template; beside them, of a
            model that was made for notes, a manifest.json that says so.
        threads: cores to compute on.

    Raises:
        ArtifactError: the directory cannot be loaded.
    """

    name = "embedded"

    def __init__(self, directory: Path, *, threads: int) -> None:
        self.prompt_style = _read_prompt_style(directory / "manifest.json")
        self._model = GenaiModel(directory, threads=threads)
        self.context_tokens = self._model.context_tokens
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")
        self._closed = threading.Event()

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens."""
        return self._model.count_tokens(text)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Write a reply; see `ReplyGenerator`."""
        if self._closed.is_set():
            raise BackendUnavailable("embedded: closed", retry_after_s=1)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Chunk | BackendError] = asyncio.Queue()
        cancelled = threading.Event()

        def put(item: Chunk | BackendError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to read
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        job = self._thread.submit(self._write, request, put, cancelled)
        try:
            while True:
                try:
                    item = await asyncio.wait_for(arrived.get(), _TOKEN_TIMEOUT_S)
                except asyncio.TimeoutError:  # on Python 3.10 it is not yet the built-in TimeoutError
                    raise DeadlineExceeded("embedded: no answer in time") from None
                if isinstance(item, BackendError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            cancelled.set()
            job.cancel()

    async def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        """Return how probable the model finds replies; see `ReplyGenerator`."""
        if self._closed.is_set():
            raise BackendUnavailable("embedded: closed", retry_after_s=1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._model.log_likelihoods, messages, replies)
        except BackendError:
            raise
        except Exception as exc:  # as in `_write`
            logger.error("the embedded model failed: %s", type(exc).__name__)
            raise BackendUnavailable("embedded: the model failed", retry_after_s=1) from None

    async def ready(self) -> bool:
        """Whether the model is loaded."""
        return not self._closed.is_set()

    async def aclose(self) -> None:
        """Stop at the next token."""
        self._closed.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _write(self, request: GenerationRequest, put: Callable[[Chunk | BackendError], None], cancelled: threading.Event) -> None:
        try:
            chunks = self._model.write(request.messages, request.sampling, lambda: cancelled.is_set() or self._closed.is_set())
            for chunk in _until_stop(chunks, request.sampling.stop):
                put(chunk)
            if self._closed.is_set():
                put(BackendUnavailable("embedded: closed", retry_after_s=1))
        except BackendError as exc:
            put(exc)
        except Exception as exc:  # the library raises bare exceptions; their messages may hold text
            logger.error("the embedded model failed: %s", type(exc).__name__)
            put(BackendUnavailable("embedded: the model failed", retry_after_s=1))


def _read_prompt_style(manifest: Path) -> PromptStyle:
    """Return what kind of prompt a model was made for; raises ArtifactError."""
    try:
        name = json.loads(manifest.read_text("utf-8")).get("prompt") if manifest.exists() else None
        return _PROMPT_STYLES[name]
    except (OSError, ValueError, AttributeError) as exc:
        raise ArtifactError(f"{manifest}: cannot be read as a responder's manifest: {exc}") from exc
    except (KeyError, TypeError):
        raise ArtifactError(
            f"{manifest}: the model was made for prompts {name!r}, which this server cannot build; unset EMPATHETIC_RESPONDER to do without"
        ) from None


def _until_stop(chunks: Iterator[Chunk], stop: tuple[str, ...]) -> Iterator[Chunk]:
    """Yield chunks up to the first stop string, which may lie across several; what could be its beginning is held back."""
    held = ""
    for chunk in chunks:
        held += chunk.text
        found = min((at for text in stop if (at := held.find(text)) >= 0), default=None)
        if found is not None:
            yield Chunk(held[:found], "stop")
            return
        if chunk.finish_reason is not None:
            yield Chunk(held, chunk.finish_reason)
            return
        keep = max((size for text in stop for size in range(1, len(text)) if held.endswith(text[:size])), default=0)
        if len(held) > keep:
            yield Chunk(held[: len(held) - keep])
            held = held[len(held) - keep :]
