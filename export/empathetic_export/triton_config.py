"""The models' `config.pbtxt`, generated from one dataclass. Knows no model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Backend = Literal["onnxruntime", "tensorrt", "python"]
FILES: dict[Backend, str] = {"onnxruntime": "model.onnx", "tensorrt": "model.plan", "python": "model.py"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the model; `dims` leave out the batch axis, -1 is a free axis."""

    name: str
    datatype: Literal["INT64", "FP32", "STRING"]
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonConfig:
    """What Triton is told of the model.

    Attributes:
        max_batch_size: rows that Triton puts into one call.
        instances: copies of the model per device; KIND_AUTO takes the GPUs, or the CPU where there is none.
        profiles: optimization profiles of a TensorRT plan; Triton uses the first alone unless it is told of the others.
        warmup_lengths: sequence lengths that are run once before the model is ready.
        versions: newest versions that stay loaded, so that an update fails no running request.
        parameters: what the model, or who asks for its configuration, is told besides.
    """

    name: str
    backend: Backend
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 64
    instances: int = 1
    profiles: int = 0
    warmup_lengths: tuple[int, ...] = ()
    versions: int = 2
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_pbtxt(self) -> str:
        """Return the text form of `inference.ModelConfig`."""
        blocks = [
            f"name: {_quote(self.name)}",
            f"backend: {_quote(self.backend)}",
            f"default_model_filename: {_quote(FILES[self.backend])}",
            f"max_batch_size: {self.max_batch_size}",
            *(f"input {_tensor(tensor)}" for tensor in self.inputs),
            *(f"output {_tensor(tensor)}" for tensor in self.outputs),
            # What waits while the model computes leaves together; nothing waits for company. With priorities or a queue policy, Triton 2.51
            # idles where lengths are mixed (docs/log.md): both are the server's.
            "dynamic_batching {\n}",
            f"instance_group {{\n  count: {self.instances}\n  kind: KIND_AUTO\n{self._profiles()}}}",
            f"version_policy {{\n  latest {{\n    num_versions: {self.versions}\n  }}\n}}",
            *(
                f"parameters {{\n  key: {_quote(key)}\n  value {{\n    string_value: {_quote(value)}\n  }}\n}}"
                for key, value in self.parameters.items()
            ),
            *(self._warmup(length) for length in self.warmup_lengths),
        ]
        return "\n".join(blocks) + "\n"

    def _profiles(self) -> str:
        return f"  profile: [{', '.join(_quote(str(number)) for number in range(self.profiles))}]\n" if self.profiles else ""

    def _warmup(self, length: int) -> str:
        """Zeros are valid ids; under a mask of zeros the pooled vector is not a number, which nobody reads."""
        inputs = "\n".join(
            f"  inputs {{\n    key: {_quote(tensor.name)}\n    value {{\n      data_type: TYPE_{tensor.datatype}\n"
            f"      dims: {_list((length,))}\n      zero_data: true\n    }}\n  }}"
            for tensor in self.inputs
        )
        return f"model_warmup {{\n  name: {_quote(f'{length} tokens')}\n  batch_size: 1\n{inputs}\n}}"


def _tensor(tensor: Tensor) -> str:
    return f"{{\n  name: {_quote(tensor.name)}\n  data_type: TYPE_{tensor.datatype}\n  dims: {_list(tensor.dims)}\n}}"


def _list(values: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, values))}]"


def _quote(text: str) -> str:
    return json.dumps(text)
