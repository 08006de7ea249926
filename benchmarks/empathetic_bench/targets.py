"""Classifiers at an address: how each is asked. What is behind a URL is told by its path; starts nothing, times nothing.

http://HOST:PORT/v1/emotions        this project's server
http://HOST:PORT/v2/models/NAME     any server of the V2 inference protocol whose model takes tokens, as Triton's HTTP port
grpc://HOST:PORT/NAME               the same over gRPC
http://HOST:PORT/classify           infinity-emb
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from .loads import Refused
from .offline import pad, tokenizer_of
from .posting import Poster

Priority = Literal["interactive", "bulk"]
# Triton's batcher puts together what has one length.
_BUCKET = 8
# Rows of one request to it, as this project's server sends them.
_ROWS = 32
_LEVELS: dict[Priority, int] = {"interactive": 1, "bulk": 2}


class Target(Protocol):
    """Something that classifies texts."""

    async def send(self, texts: list[str], priority: Priority | None = None) -> None:
        """Have texts classified; raises `Refused`."""

    async def scores(self, texts: list[str]) -> NDArray[Any]:
        """Return the probabilities (texts, labels); raises `Refused`."""


@asynccontextmanager
async def connected(url: str, model: Path) -> AsyncIterator[Target]:
    """Connect to what is behind a URL.

    Args:
        url: see above.
        model: folder with the tokenizer, for targets that want tokens.

    Raises:
        ValueError: the URL is none of those above.
    """
    parts = urlsplit(url)
    if parts.scheme == "grpc":
        from tritonclient.grpc.aio import InferenceServerClient  # noqa: PLC0415  # the other targets do without

        async with InferenceServerClient(parts.netloc) as client:
            yield _V2Grpc(client, parts.path.strip("/"), model)
        return
    kinds: dict[str, Callable[[Poster], Target]] = {"/v1/emotions": _Emotions, "/classify": _Infinity}
    if parts.path in kinds:
        with closing(Poster(url)) as poster:
            yield kinds[parts.path](poster)
    elif parts.path.startswith("/v2/models/"):
        with closing(Poster(f"{url.rstrip('/')}/infer")) as poster:
            yield _V2Http(poster, model)
    else:
        raise ValueError(f"{url} names no known kind of target")


class _Emotions:
    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    async def send(self, texts: list[str], priority: Priority | None = None) -> None:
        await self._poster.post({"input": texts, **({"priority": priority} if priority else {})})

    async def scores(self, texts: list[str]) -> NDArray[Any]:
        answer = json.loads(await self._poster.post({"input": texts, "scores": True}))
        return np.array([list(entry["scores"].values()) for entry in answer["data"]])


class _Infinity:
    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    async def send(self, texts: list[str], priority: Priority | None = None) -> None:
        await self._poster.post({"input": texts})

    async def scores(self, texts: list[str]) -> NDArray[Any]:
        answer = json.loads(await self._poster.post({"input": texts}))
        by_label = [{int(entry["label"].removeprefix("LABEL_")): entry["score"] for entry in row} for row in answer["data"]]
        return np.array([[row[label] for label in range(len(row))] for row in by_label])


class _V2(ABC):
    """Sends tokens, those of one length (in steps of eight) together, and takes logits."""

    def __init__(self, model: Path) -> None:
        self._tokenizer = tokenizer_of(model)

    async def send(self, texts: list[str], priority: Priority | None = None) -> None:
        await self.scores(texts, priority)

    async def scores(self, texts: list[str], priority: Priority | None = None) -> NDArray[Any]:
        by_length: dict[int, list[int]] = defaultdict(list)
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        for index, ids in enumerate(encoded):
            by_length[-(-len(ids) // _BUCKET) * _BUCKET].append(index)
        chunks = [(length, rows[start : start + _ROWS]) for length, rows in by_length.items() for start in range(0, len(rows), _ROWS)]
        inputs = (pad([encoded[row] for row in rows], length) for length, rows in chunks)
        answers = await asyncio.gather(*(self._infer(ids, mask, priority or "bulk") for ids, mask in inputs))
        logits = np.empty((len(texts), answers[0].shape[1]))
        for (_, rows), answer in zip(chunks, answers, strict=True):
            logits[rows] = answer
        return 1.0 / (1.0 + np.exp(-logits))

    @abstractmethod
    async def _infer(self, ids: NDArray[Any], mask: NDArray[Any], priority: Priority) -> NDArray[Any]:
        """Return the logits (rows, labels) of token ids and their mask (rows, tokens); raises `Refused`."""


class _V2Http(_V2):
    def __init__(self, poster: Poster, model: Path) -> None:
        super().__init__(model)
        self._poster = poster

    async def _infer(self, ids: NDArray[Any], mask: NDArray[Any], priority: Priority) -> NDArray[Any]:
        inputs = [
            {"name": name, "shape": array.shape, "datatype": "INT64", "data": array.ravel().tolist()}
            for name, array in (("input_ids", ids), ("attention_mask", mask))
        ]
        body = {"inputs": inputs, "outputs": [{"name": "logits"}], "parameters": {"priority": _LEVELS[priority]}}
        output = json.loads(await self._poster.post(body))["outputs"][0]
        return np.array(output["data"]).reshape(output["shape"])


class _V2Grpc(_V2):
    def __init__(self, client: Any, name: str, model: Path) -> None:
        super().__init__(model)
        self._client, self._name = client, name

    async def _infer(self, ids: NDArray[Any], mask: NDArray[Any], priority: Priority) -> NDArray[Any]:
        from tritonclient.grpc import InferInput, InferRequestedOutput  # noqa: PLC0415  # as above
        from tritonclient.utils import InferenceServerException  # noqa: PLC0415  # as above

        inputs = [InferInput(name, array.shape, "INT64") for name, array in (("input_ids", ids), ("attention_mask", mask))]
        for tensor, array in zip(inputs, (ids, mask), strict=True):
            tensor.set_data_from_numpy(array)
        try:
            answer = await self._client.infer(self._name, inputs, outputs=[InferRequestedOutput("logits")], priority=_LEVELS[priority])
        except InferenceServerException as exc:
            raise Refused(f"{self._name}: {exc.status()}") from exc
        logits: NDArray[Any] = answer.as_numpy("logits")
        return logits
