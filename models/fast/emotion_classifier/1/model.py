"""The classifier in Triton's python backend: ONNX Runtime on the tensors that the dynamic batcher hands over.

For a Triton without the onnxruntime backend, such as the one in the package nvidia-pytriton. Same tensors in and out as there:
`input_ids` and `attention_mask` (rows, tokens) int64 to `logits` (rows, labels) and `embedding` (rows, hidden size) float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("logits", "embedding")


class TritonPythonModel:
    """One instance of the model; Triton calls `execute` from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load this version's ONNX file, on the instance's GPU if it has one."""
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = onnxruntime.SessionOptions()
        # A thread that waits by spinning takes the core of whoever works beside Triton: two fifths of the throughput where both are busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        if args["model_instance_kind"] == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(args["model_instance_device_id"])}))
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; one that the model fails on fails alone."""
        by_length: dict[int, list[int]] = {}
        tensors = [[pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS] for request in requests]
        for index, (ids, _) in enumerate(tensors):
            by_length.setdefault(ids.shape[1], []).append(index)
        responses: list[Any] = [None] * len(requests)
        for indices in by_length.values():
            for index, response in zip(indices, self._answer([tensors[index] for index in indices]), strict=True):
                responses[index] = response
        return responses

    def _answer(self, tensors: list[list[Any]]) -> list[Any]:
        """Run requests of one length in one batch, or each alone when the batch fails."""
        try:
            outputs = self._run(*(np.concatenate(arrays) for arrays in zip(*tensors, strict=True)))
        except Exception as exc:
            if len(tensors) > 1:
                return [self._answer([alone])[0] for alone in tensors]
            # ONNX Runtime's message may hold token ids, which are a person's text.
            message = f"the model failed on this request: {type(exc).__name__}"
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))]
        ends = np.cumsum([len(ids) for ids, _ in tensors])[:-1]
        rows = zip(*(np.split(output, ends) for output in outputs), strict=True)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(name, row) for name, row in zip(OUTPUTS, outputs_of_one, strict=True)])
            for outputs_of_one in rows
        ]

    def _run(self, *inputs: Any) -> list[Any]:
        """Run one batch; the binding moves it to the session's device and back."""
        binding = self._session.io_binding()
        for name, array in zip(INPUTS, inputs, strict=True):
            binding.bind_cpu_input(name, array)
        for name in OUTPUTS:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        outputs: list[Any] = binding.copy_outputs_to_cpu()
        return outputs
