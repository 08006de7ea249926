"""Text in, emotions out, in Triton's python backend: for clients that speak to Triton alone. It asks `emotion_classifier` beside it.

`text` (rows, 1) UTF-8 to `probabilities` (rows, labels) float32 and `labels` (rows, 1): the labels at or above their thresholds, highest
first, divided by commas, or the best one when none is. A client that sends much is served better by `emotion_classifier` itself: the
tokenizer here shares one Python interpreter with everything that this model does.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

CLASSIFIER = "emotion_classifier"
# Equal lengths let Triton put rows of several clients into one batch.
BUCKETS = (8, 16, 24, 32, 40, 48, 56, 64, 96, 128)
MAX_ROWS = 32


class TritonPythonModel:
    """The model; Triton calls `execute` from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the classifier's tokenizer, labels and thresholds."""
        directory = Path(args["model_repository"]).parent / CLASSIFIER
        manifest = json.loads((directory / "manifest.json").read_bytes())
        self._version = int(manifest["version"])
        self._window = int(manifest["max_length"])
        self._pad_id = int(manifest["pad_id"])
        self._labels = list(manifest["labels"])
        self._thresholds = np.array(manifest["thresholds"], np.float32)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; one with a bad text fails alone."""
        answers: list[Any] = await asyncio.gather(*(self._answer(request) for request in requests))
        return answers

    async def _answer(self, request: Any) -> Any:
        try:
            texts = _texts(pb_utils.get_input_tensor_by_name(request, "text").as_numpy())
            probabilities = await self._classify(texts, request)
        except ValueError as exc:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(exc), pb_utils.TritonError.INVALID_ARG))
        except pb_utils.TritonModelException as exc:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(exc)))
        labels = np.array([[self._name(row)] for row in probabilities], np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("probabilities", probabilities), pb_utils.Tensor("labels", labels)])

    async def _classify(self, texts: list[str], request: Any) -> Any:
        """Return probabilities (texts, labels); texts of one bucket go together."""
        encoded = [self._cut(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]
        by_bucket: dict[int, list[int]] = defaultdict(list)
        for index, ids in enumerate(encoded):
            by_bucket[next((bucket for bucket in BUCKETS if len(ids) <= bucket), self._window)].append(index)
        chunks = [
            (bucket, indices[start : start + MAX_ROWS])
            for bucket, indices in by_bucket.items()
            for start in range(0, len(indices), MAX_ROWS)
        ]
        found = await asyncio.gather(*(self._infer(bucket, [encoded[index] for index in indices], request) for bucket, indices in chunks))
        probabilities = np.empty((len(texts), len(self._labels)), np.float32)
        for (_, indices), logits in zip(chunks, found, strict=True):
            probabilities[indices] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        return probabilities

    async def _infer(self, length: int, rows: list[list[int]], request: Any) -> Any:
        ids = np.full((len(rows), length), self._pad_id, np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        asked = pb_utils.InferenceRequest(
            model_name=CLASSIFIER,
            model_version=self._version,
            request_id=request.request_id(),
            requested_output_names=["logits"],
            inputs=[pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)],
        )
        response = await asked.async_exec()
        if response.has_error():
            raise pb_utils.TritonModelException(response.error().message())
        return pb_utils.get_output_tensor_by_name(response, "logits").as_numpy()

    def _cut(self, ids: list[int]) -> list[int]:
        """Keep the window, and in it the closing special token."""
        return ids if len(ids) <= self._window else ids[: self._window - 1] + ids[-1:]

    def _name(self, probabilities: Any) -> bytes:
        order = np.argsort(-probabilities)
        named = [self._labels[label] for label in order if probabilities[label] >= self._thresholds[label]]
        return ",".join(named or [self._labels[order[0]]]).encode()


def _texts(tensor: Any) -> list[str]:
    """Return the texts of a BYTES tensor; raises ValueError, with the row and without the text."""
    texts = []
    for row, value in enumerate(tensor.reshape(-1)):
        try:
            texts.append(bytes(value).decode())
        except UnicodeDecodeError:
            raise ValueError(f"text[{row}] is not UTF-8") from None
        if not texts[-1].strip():
            raise ValueError(f"text[{row}] is blank")
    return texts
