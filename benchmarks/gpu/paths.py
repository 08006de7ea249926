"""The ways to score batches on a device: each is a batching and a function. Times nothing.

On a CPU, where the tests run, they are the same but for the device: fp32 instead of fp16, no CUDA graphs, and another attention kernel.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Batch, Batching, Buckets, InOrder, Packer
from .model import HAS_VARLEN, Classifier, ForOnnx, Packed, Padded, Reference

PUBLISHED_ROWS = 8
_WARM_UPS = 3  # of a graph's kernels before it is captured, as PyTorch's documentation asks


class Missing(Exception):
    """This machine has not what a path needs; the others are measured."""


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


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for every path."""

    device: torch.device
    token_budget: int
    compiler: str

    @property
    def dtype(self) -> torch.dtype:
        """Half precision where the device is made for it."""
        return torch.float16 if self.device.type == "cuda" else torch.float32


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
    return Path("eager-in-order", shape, batching, _eager(_cast(classifier.reference, conditions), conditions))


def _eager_buckets(classifier: Classifier, conditions: Conditions) -> Path:
    score = _eager(_cast(classifier.reference, conditions), conditions)
    return Path("eager-buckets", "PyTorch eager, batches by length", lambda: _buckets(classifier, conditions), score)


def _compiled(classifier: Classifier, conditions: Conditions) -> Path:
    compiled = torch.compile(_cast(Padded(classifier.reference), conditions), dynamic=True, backend=conditions.compiler)
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
    score = _OnnxSession(classifier.reference, conditions)
    return Path("onnx", "ONNX Runtime, a CUDA graph per length", lambda: _buckets(classifier, conditions), score)


def _packed_model(classifier: Classifier, conditions: Conditions) -> Packed:
    if conditions.device.type == "cuda" and not HAS_VARLEN:
        raise Missing(f"torch {torch.__version__} has no torch.nn.attention.varlen")
    packed: Packed = _cast(Packed(classifier.reference, classifier.max_length), conditions)
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


def _cast(module: nn.Module, conditions: Conditions) -> Any:
    return copy.deepcopy(module).to(conditions.device, conditions.dtype)


def _eager(module: nn.Module, conditions: Conditions) -> Callable[[Batch], Tensor]:
    def score(batch: Batch) -> Tensor:
        logits: Tensor = module(*_on_device(batch, conditions.device))
        return logits

    return score


def _on_device(batch: Batch, device: torch.device) -> Iterator[Tensor]:
    for array in batch.arrays:
        tensor = torch.from_numpy(array)
        # Pinned memory is copied while the host goes on; torch keeps it until the copy is done.
        yield tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class _Graphed:
    """Captures a CUDA graph for each shape that comes, and replays it from then on; without CUDA, calls the function."""

    def __init__(self, function: Callable[..., Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._graphs: dict[tuple[Any, ...], tuple[list[Tensor], Any, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Tensor:
        inputs = list(_on_device(batch, self._device))
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


class _OnnxSession:
    """ONNX Runtime on buffers that stay on the device, one set and one CUDA graph for each shape that comes.

    A run waits for its end: torch and ONNX Runtime have each a stream of their own.
    """

    def __init__(self, reference: Reference, conditions: Conditions) -> None:
        try:
            import onnxruntime  # noqa: PLC0415  # a machine may lack it
        except ImportError as exc:
            raise Missing("onnxruntime is not installed") from exc
        self._device, self._dtype = conditions.device, conditions.dtype
        self._labels = reference.classifier.out_features
        is_cuda = self._device.type == "cuda"
        provider = "CUDAExecutionProvider" if is_cuda else "CPUExecutionProvider"
        options: dict[str, str] = {"enable_cuda_graph": "1"} if is_cuda else {}
        if provider not in onnxruntime.get_available_providers():
            raise Missing(f"onnxruntime {onnxruntime.__version__} here has no {provider}: it is not onnxruntime-gpu")
        exported = _export(_cast(ForOnnx(reference), conditions), self._device)
        self._session = onnxruntime.InferenceSession(exported, providers=[(provider, options)])
        if self._session.get_providers()[0] != provider:
            raise Missing(f"onnxruntime {onnxruntime.__version__} here cannot load its {provider}")
        self._new_options = onnxruntime.RunOptions
        self._shapes: dict[tuple[Any, ...], tuple[list[Tensor], Tensor, Any, Any]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        inputs = list(_on_device(batch, self._device))
        shape = tuple(array.shape for array in batch.arrays)
        if shape not in self._shapes:
            self._shapes[shape] = self._bind(inputs)
        held, logits, binding, options = self._shapes[shape]
        for mine, new in zip(held, inputs, strict=True):
            mine.copy_(new)
        if self._device.type == "cuda":
            torch.cuda.current_stream().synchronize()
        self._session.run_with_iobinding(binding, options)
        return logits.clone()

    def _bind(self, inputs: list[Tensor]) -> tuple[list[Tensor], Tensor, Any, Any]:
        held = [tensor.clone() for tensor in inputs]
        logits = torch.full((len(held[0]), self._labels), torch.nan, dtype=self._dtype, device=self._device)
        binding, options = self._session.io_binding(), self._new_options()
        if self._device.type == "cuda":
            options.add_run_config_entry("gpu_graph_id", str(len(self._shapes) + 1))
        numbers = {torch.int64: np.int64, torch.int32: np.int32, torch.float16: np.float16, torch.float32: np.float32}
        for bind, name, tensor in (
            *zip((binding.bind_input,) * 3, ("ids", "positions", "lengths"), held, strict=True),
            (binding.bind_output, "logits", logits),
        ):
            bind(name, self._device.type, self._device.index or 0, numbers[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
        return held, logits, binding, options


def _export(module: ForOnnx, device: torch.device) -> bytes:
    """Write the graph with free batch and length, as PyTorch traces it."""
    rows, length = 2, 16
    ids, positions = torch.ones(rows, length, dtype=torch.int64), torch.arange(length)
    inputs = tuple(tensor.to(device) for tensor in (ids, positions, torch.full((rows,), length, dtype=torch.int32)))
    graph: Any = io.BytesIO()  # taken by the older exporter, whatever the annotation says
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter tells that it is the older of torch's two, which knows `symbolic`
        torch.onnx.export(
            module,
            inputs,
            graph,
            dynamo=False,
            opset_version=17,
            input_names=["ids", "positions", "lengths"],
            output_names=["logits"],
            dynamic_axes={"ids": {0: "rows", 1: "length"}, "positions": {0: "length"}, "lengths": {0: "rows"}, "logits": {0: "rows"}},
            custom_opsets={"com.microsoft": 1},
        )
    written: bytes = graph.getvalue()
    return written
