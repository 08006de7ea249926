from __future__ import annotations

from empathetic_export.to_tensorrt import CONTAINER, shapes, trtexec_command
from empathetic_export.triton_config import Tensor, TritonConfig
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

CONFIG = TritonConfig(
    name="emotion_classifier",
    backend="onnxruntime",
    inputs=(Tensor("input_ids", "INT64", (-1,)), Tensor("attention_mask", "INT64", (-1,))),
    outputs=(Tensor("logits", "FP32", (28,)), Tensor("embedding", "FP32", (384,))),
    max_batch_size=48,
    instances=3,
    warmup_lengths=(16,),
    versions=5,
)


def test_every_field_reaches_the_text_and_back() -> None:
    parsed = text_format.Parse(CONFIG.to_pbtxt(), model_config_pb2.ModelConfig())
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == ("emotion_classifier", "onnxruntime", 48)
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in parsed.input] == [
        ("input_ids", model_config_pb2.TYPE_INT64, [-1]),
        ("attention_mask", model_config_pb2.TYPE_INT64, [-1]),
    ]
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in parsed.output] == [
        ("logits", model_config_pb2.TYPE_FP32, [28]),
        ("embedding", model_config_pb2.TYPE_FP32, [384]),
    ]
    assert parsed.HasField("dynamic_batching")
    assert [(group.count, group.kind) for group in parsed.instance_group] == [(3, model_config_pb2.ModelInstanceGroup.KIND_AUTO)]
    assert parsed.version_policy.latest.num_versions == 5
    [warmup] = parsed.model_warmup
    assert {name: list(tensor.dims) for name, tensor in warmup.inputs.items()} == {"input_ids": [16], "attention_mask": [16]}


def test_tensorrt_profiles_cover_every_length_once() -> None:
    for window in (8, 16, 100, 128):
        covered = [length for (_, low), _, (_, high) in shapes(window) for length in range(low, high + 1)]
        assert covered == list(range(1, window + 1))


def test_the_trtexec_command_names_the_container_the_files_and_every_profile() -> None:
    command = trtexec_command(128)
    assert CONTAINER in command
    assert "--onnx=/model/model.onnx --saveEngine=/model/model.plan --fp16" in command
    assert "--profile=3 --minShapes=input_ids:1x65,attention_mask:1x65 --optShapes=input_ids:32x128,attention_mask:32x128" in command
    assert "--maxShapes=input_ids:64x128,attention_mask:64x128" in command
    assert command.count("--profile=") == 4
    assert all(line.endswith("\\") or number > 2 for number, line in enumerate(command.splitlines()[2:-1], start=3))
