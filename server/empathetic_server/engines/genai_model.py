"""A model of onnxruntime-genai on a directory: templates, sampling, probabilities. For one thread; knows no event loop.

What was computed for the last prompt is kept. The next one computes only what comes after their common beginning: the drafts of one reply
share their whole prompt, and so do their probabilities and the next turn of a conversation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai

from ..errors import ArtifactError, BackendUnavailable
from .protocols import ChatMessage, Chunk, Likelihood, Sampling

# As in the original: of the whole vocabulary, the tail is noise.
_TOP_K = 50
# Memory for a prompt and its reply is set aside in steps of so many tokens, so that it can mostly be used again.
_STEP_TOKENS = 512


class GenaiModel:
    """What onnxruntime-genai loads, with its tokenizer.

    Args:
        directory: genai_config.json, the model, and a tokenizer with a chat template.
        threads: cores to compute on.

    Raises:
        ArtifactError: the directory cannot be loaded.
    """

    def __init__(self, directory: Path, *, threads: int) -> None:
        onnxruntime_genai.disable_telemetry_events()
        try:
            self.context_tokens = int(json.loads((directory / "genai_config.json").read_text("utf-8"))["model"]["context_length"])
            config = onnxruntime_genai.Config(str(directory))
            config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
            self._model = onnxruntime_genai.Model(config)
            self._tokenizer = onnxruntime_genai.Tokenizer(self._model)
            self._ends = tuple(int(token) for token in self._tokenizer.eos_token_ids)
            self._prompt((ChatMessage("system", "x"), ChatMessage("user", "x")))  # fails without a template
        except Exception as exc:  # the library raises bare exceptions of many kinds
            reason = " ".join(str(exc).split())
            raise ArtifactError(
                f"{directory}: cannot be loaded as a responder: {reason}; unset EMPATHETIC_RESPONDER to do without"
            ) from exc
        self._kept: _Sequence | None = None

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens. May be called from any thread."""
        return len(self._tokenizer.encode(text))

    def write(self, messages: Sequence[ChatMessage], sampling: Sampling, is_cancelled: Callable[[], bool]) -> Iterator[Chunk]:
        """Yield a reply's tokens as text, and at last why it ended; ends without a reason once cancelled.

        Raises:
            BackendUnavailable: the prompt leaves no room for a reply.
        """
        prompt = self._prompt(messages)
        limit = min(len(prompt) + sampling.max_tokens, self.context_tokens)
        if len(prompt) >= limit:
            raise BackendUnavailable("embedded: the prompt is longer than the model's window")
        sequence = self._continue(prompt, limit, _search_options(sampling))
        decoder = self._tokenizer.create_stream()
        for _ in range(limit - len(prompt)):
            if is_cancelled():
                return
            token = sequence.draw()
            if token in self._ends:
                yield Chunk("", "stop")
                return
            yield Chunk(decoder.decode(token))
        yield Chunk("", "length")

    def log_likelihoods(self, messages: Sequence[ChatMessage], replies: Sequence[str]) -> tuple[Likelihood, ...] | None:
        """Return how probable the model finds each reply, its end included; None from a graph that gives only the last token's scores.

        Raises:
            BackendUnavailable: a reply does not fit.
        """
        prompt = self._prompt(messages)
        found = []
        for reply in replies:
            tokens = [*(int(token) for token in self._tokenizer.encode(reply)), self._ends[0]]
            if len(prompt) + len(tokens) > self.context_tokens:
                raise BackendUnavailable("embedded: a reply is longer than the model's window")
            logits = self._continue([*prompt, *tokens], len(prompt) + len(tokens), None, keep=len(prompt) - 1).logits()[
                -len(tokens) - 1 : -1
            ]
            if len(logits) < len(tokens):
                return None
            logits = logits - logits.max(axis=-1, keepdims=True)
            chosen = logits[np.arange(len(tokens)), tokens] - np.log(np.exp(logits).sum(axis=-1))
            found.append(Likelihood(float(chosen.sum()), len(tokens)))
        return tuple(found)

    def _prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the tokens of messages in the model's template, up to where the reply begins."""
        spoken = [{"role": message.role, "content": message.text} for message in messages]
        text = str(self._tokenizer.apply_chat_template(json.dumps(spoken), add_generation_prompt=True))
        return [int(token) for token in self._tokenizer.encode(text)]

    def _continue(self, tokens: list[int], limit: int, options: dict[str, Any] | None, keep: int | None = None) -> _Sequence:
        """Return a computed sequence of these tokens, made of the last one's beginning where that is the same.

        Args:
            tokens: what is to be computed.
            limit: tokens that the sequence may grow to.
            options: how it will be drawn from; None if it will not be.
            keep: tokens of the last sequence to keep at most, for scores of all that come after.
        """
        kept, self._kept = self._kept, None  # one that failed halfway is not used again
        if kept is None or kept.limit < limit or options not in (None, kept.options) or "random_seed" in (options or {}):
            size = min(-(-limit // _STEP_TOKENS) * _STEP_TOKENS, self.context_tokens)
            kept = _Sequence(self._model, size, options or {})
        kept.become(tokens, keep)
        self._kept = kept
        return kept


class _Sequence:
    """Tokens and what the model has computed for them."""

    def __init__(self, model: Any, limit: int, options: dict[str, Any]) -> None:
        self.limit = limit
        self.options = options
        self._tokens: list[int] = []
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=limit, **options)
        self._generator = onnxruntime_genai.Generator(model, parameters)

    def become(self, tokens: list[int], keep: int | None) -> None:
        """Forget what differs from `tokens`, and compute the rest; the last one is always computed anew, for its scores."""
        most = min(len(self._tokens), len(tokens) - 1, len(tokens) if keep is None else keep)
        same = next((index for index in range(most) if self._tokens[index] != tokens[index]), most)
        if same < len(self._tokens):
            self._generator.rewind_to(same)
        self._generator.append_tokens(np.asarray(tokens[same:], dtype=np.int32))
        self._tokens = list(tokens)

    def draw(self) -> int:
        """Draw the next token."""
        self._generator.generate_next_token()
        token = int(self._generator.get_next_tokens()[0])
        self._tokens.append(token)
        return token

    def logits(self) -> Any:
        """Return the scores of all tokens after those that were kept: (tokens, vocabulary), float32."""
        return np.asarray(self._generator.get_output("logits"), dtype=np.float32)[0]


def _search_options(sampling: Sampling) -> dict[str, Any]:
    options: dict[str, Any] = {"do_sample": bool(sampling.temperature)}
    if sampling.temperature:
        options |= {"temperature": sampling.temperature, "top_k": _TOP_K}
    if sampling.top_p is not None:
        options["top_p"] = sampling.top_p
    if sampling.repetition_penalty is not None:
        options["repetition_penalty"] = sampling.repetition_penalty
    if sampling.seed is not None:
        options["random_seed"] = sampling.seed % 2**31
    return options
