"""Replies from a model inside the server process: onnxruntime-genai on a model directory. Knows no conversation and no HTTP.

One thread writes one reply after the other; its tokens cross into the event loop as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime_genai

from ..errors import ArtifactError, BackendError, BackendUnavailable, DeadlineExceeded
from .protocols import ChatMessage, Chunk, GenerationRequest, PromptStyle

logger = logging.getLogger(__name__)

# As long as a person waits; replies before this one count, too.
_TOKEN_TIMEOUT_S = 30.0
# As in the original: of the whole vocabulary, the tail is noise.
_TOP_K = 50
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
        onnxruntime_genai.disable_telemetry_events()
        self.prompt_style = _read_prompt_style(directory / "manifest.json")
        try:
            self.context_tokens = int(json.loads((directory / "genai_config.json").read_text("utf-8"))["model"]["context_length"])
            config = onnxruntime_genai.Config(str(directory))
            config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
            self._model = onnxruntime_genai.Model(config)
            self._tokenizer = onnxruntime_genai.Tokenizer(self._model)
            self._prompt(ChatMessage("system", "x"), ChatMessage("user", "x"))  # fails without a template
        except Exception as exc:  # the library raises bare exceptions of many kinds
            reason = " ".join(str(exc).split())
            raise ArtifactError(
                f"{directory}: cannot be loaded as a responder: {reason}; unset EMPATHETIC_RESPONDER to do without"
            ) from exc
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")
        self._closed = threading.Event()

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens."""
        return len(self._tokenizer.encode(text))

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

    async def ready(self) -> bool:
        """Whether the model is loaded."""
        return not self._closed.is_set()

    async def aclose(self) -> None:
        """Stop at the next token."""
        self._closed.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _prompt(self, *messages: ChatMessage) -> str:
        """Return the messages in the model's template, up to where the reply begins."""
        spoken = [{"role": message.role, "content": message.text} for message in messages]
        return str(self._tokenizer.apply_chat_template(json.dumps(spoken), add_generation_prompt=True))

    def _write(self, request: GenerationRequest, put: Callable[[Chunk | BackendError], None], cancelled: threading.Event) -> None:
        try:
            for chunk in _until_stop(self._tokens(request, cancelled), request.sampling.stop):
                put(chunk)
        except BackendError as exc:
            put(exc)
        except Exception as exc:  # as in the constructor; its message may hold text
            logger.error("the embedded model failed: %s", type(exc).__name__)
            put(BackendUnavailable("embedded: the model failed", retry_after_s=1))

    def _tokens(self, request: GenerationRequest, cancelled: threading.Event) -> Iterator[Chunk]:
        prompt = self._tokenizer.encode(self._prompt(*request.messages))
        sampling = request.sampling
        limit = min(len(prompt) + sampling.max_tokens, self.context_tokens)
        if len(prompt) >= limit:
            raise BackendUnavailable("embedded: the prompt is longer than the model's window")
        options: dict[str, float | bool] = {"max_length": limit, "do_sample": bool(sampling.temperature)}
        if sampling.temperature:
            options |= {"temperature": sampling.temperature, "top_k": _TOP_K}
        if sampling.top_p is not None:
            options["top_p"] = sampling.top_p
        if sampling.repetition_penalty is not None:
            options["repetition_penalty"] = sampling.repetition_penalty
        if sampling.seed is not None:
            options["random_seed"] = sampling.seed % 2**31
        parameters = onnxruntime_genai.GeneratorParams(self._model)
        parameters.set_search_options(**options)
        generator = onnxruntime_genai.Generator(self._model, parameters)
        generator.append_tokens(prompt)
        decoder = self._tokenizer.create_stream()
        token = -1
        while not generator.is_done() and not cancelled.is_set() and not self._closed.is_set():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            yield Chunk(decoder.decode(token))
        if self._closed.is_set():
            raise BackendUnavailable("embedded: closed", retry_after_s=1)
        yield Chunk("", "stop" if token in self._tokenizer.eos_token_ids else "length")


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
