"""The classifier in ONNX Runtime: exported with its own attention operator, run on buffers that stay on the device."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Batch
from .conditions import Conditions, Missing, cast, on_device
from .model import Attention, Padded, Reference


class _AttentionNode(torch.autograd.Function):
    """ONNX Runtime's own operator: no pattern of nodes has to be recognized for it to be used."""

    @staticmethod
    def forward(_: Any, tokens: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, heads: int) -> Tensor:
        return torch.empty_like(tokens)  # the graph is recorded, not computed

    @staticmethod
    def symbolic(graph: Any, tokens: Any, weight: Any, bias: Any, lengths: Any, heads: int) -> Any:  # noqa: PLR0917  # torch calls it so
        return graph.op("com.microsoft::Attention", tokens, weight, bias, lengths, num_heads_i=heads).setType(tokens.type())


class ForOnnx(Padded):
    """`Padded` to be exported; it cannot be computed with torch."""

    def attention(self, mask: Tensor, lengths: Tensor) -> Attention:
        """Return ONNX Runtime's attention, which takes the lengths themselves."""

        def attend(qkv: nn.Linear, tokens: Tensor) -> Tensor:
            mixed: Tensor = _AttentionNode.apply(tokens, qkv.weight.t(), qkv.bias, lengths, self.heads)  # type: ignore[no-untyped-call]
            return mixed

        return attend


class OnnxSession:
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
        exported = _export(cast(ForOnnx(reference), conditions), self._device)
        self._session = onnxruntime.InferenceSession(exported, providers=[(provider, options)])
        if self._session.get_providers()[0] != provider:
            raise Missing(f"onnxruntime {onnxruntime.__version__} here cannot load its {provider}")
        self._new_options = onnxruntime.RunOptions
        self._shapes: dict[tuple[Any, ...], tuple[list[Tensor], Tensor, Any, Any]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Return a batch's logits (rows, labels)."""
        inputs = list(on_device(batch, self._device))
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
