"""The ways to score batches on a device: each is a batching and a function. Times nothing.

On a CPU, where the tests run, they are the same but for the device: fp32 instead of fp16, no CUDA graphs, and another attention kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Batch, Batching, Buckets, InOrder, Packer
from .conditions import Conditions, Missing, cast, on_device
from .model import HAS_VARLEN, Classifier, Packed, Padded
from .onnx_session import OnnxSession

PUBLISHED_ROWS = 8
_WARM_UPS = 3  # of a graph's kernels before it is captured, as PyTorch's documentation asks


@dataclass(frozen=True, slots=True)
class Path:
    """A way to score.

    Attributes:
        name: in results.
        shape: in words.
        batching: makes a new one for each round.
        score: arrays of a batch to logits (rows, labels) on the device, where they may still be under way.
    """

    name: str
    shape: str
    batching: Callable[[], Batching]
    score: Callable[[Batch], Tensor]


def reference_path(classifier: Classifier, conditions: Conditions) -> Path:
    """Return transformers' encoder in fp32 on the device, against which the others are held."""
    return Path("reference", "", lambda: _buckets(classifier, conditions), _eager(classifier.reference.to(conditions.device), conditions))


def builders(classifier: Classifier, conditions: Conditions) -> dict[str, Callable[[], Path]]:
    """Return every path's builder; a builder raises `Missing`, or whatever the library raises."""
    makers = (_eager_in_order, _eager_buckets, _compiled, _packed, _packed_compiled, _onnx)
    return {maker.__name__.strip("_").replace("_", "-"): partial(maker, classifier, conditions) for maker in makers}


def _eager_in_order(classifier: Classifier, conditions: Conditions) -> Path:
    def batching() -> InOrder:
        return InOrder(rows=PUBLISHED_ROWS, pad_id=classifier.pad_id, first_position=classifier.first_position)

    shape = f"PyTorch eager, batches of {PUBLISHED_ROWS} in order"
    return Path("eager-in-order", shape, batching, _eager(cast(classifier.reference, conditions), conditions))


def _eager_buckets(classifier: Classifier, conditions: Conditions) -> Path:
    score = _eager(cast(classifier.reference, conditions), conditions)
    return Path("eager-buckets", "PyTorch eager, batches by length", lambda: _buckets(classifier, conditions), score)


def _compiled(classifier: Classifier, conditions: Conditions) -> Path:
    compiled = torch.compile(cast(Padded(classifier.reference), conditions), dynamic=True, backend=conditions.compiler)
    score = _Graphed(compiled, conditions.device)
    return Path("compiled", "PyTorch compiled, a CUDA graph per length", lambda: _buckets(classifier, conditions), score)


def _packed(classifier: Classifier, conditions: Conditions) -> Path:
    score = _eager(_packed_model(classifier, conditions), conditions)
    return Path("packed", "PyTorch eager, packed", lambda: _packer(classifier, conditions), score)


def _packed_compiled(classifier: Classifier, conditions: Conditions) -> Path:
    # One shape alone, so one compilation and one graph.
    compiled = torch.compile(_packed_model(classifier, conditions), dynamic=False, backend=conditions.compiler)
    score = _Graphed(compiled, conditions.device)
    return Path("packed-compiled", "PyTorch compiled, packed, one CUDA graph", lambda: _packer(classifier, conditions), score)


def _onnx(classifier: Classifier, conditions: Conditions) -> Path:
    score = OnnxSession(classifier.reference, conditions)
    return Path("onnx", "ONNX Runtime, a CUDA graph per length", lambda: _buckets(classifier, conditions), score)


def _packed_model(classifier: Classifier, conditions: Conditions) -> Packed:
    if conditions.device.type == "cuda" and not HAS_VARLEN:
        raise Missing(f"torch {torch.__version__} has no torch.nn.attention.varlen")
    packed: Packed = cast(Packed(classifier.reference, classifier.max_length), conditions)
    return packed


def _buckets(classifier: Classifier, conditions: Conditions) -> Buckets:
    return Buckets(
        max_length=classifier.max_length,
        budget=conditions.token_budget,
        pad_id=classifier.pad_id,
        first_position=classifier.first_position,
    )


def _packer(classifier: Classifier, conditions: Conditions) -> Packer:
    return Packer(budget=conditions.token_budget, pad_id=classifier.pad_id, first_position=classifier.first_position)


def _eager(module: nn.Module, conditions: Conditions) -> Callable[[Batch], Tensor]:
    def score(batch: Batch) -> Tensor:
        logits: Tensor = module(*on_device(batch, conditions.device))
        return logits

    return score


class _Graphed:
    """Captures a CUDA graph for each shape that comes, and replays it from then on; without CUDA, calls the function."""

    def __init__(self, function: Callable[..., Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._graphs: dict[tuple[Any, ...], tuple[list[Tensor], Any, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Tensor:
        inputs = list(on_device(batch, self._device))
        if self._device.type != "cuda":
            return self._function(*inputs)
        shape = tuple(array.shape for array in batch.arrays)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(inputs)
        held, graph, logits = self._graphs[shape]
        for mine, new in zip(held, inputs, strict=True):
            mine.copy_(new)
        graph.replay()
        return logits.clone()  # the next replay writes over it, of any of the graphs: they share their memory

    def _capture(self, inputs: list[Tensor]) -> tuple[list[Tensor], Any, Tensor]:
        held = [tensor.clone() for tensor in inputs]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._function(*held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = self._function(*held)
        return held, graph, logits
