"""Writes what Triton reads beside the model files: configurations, and the models of its python backend."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .to_tensorrt import shapes
from .triton_config import Backend, Tensor, TritonConfig

CLASSIFIER, TEXT = "emotion_classifier", "emotion_text"
INPUTS = (Tensor("input_ids", "INT64", (-1,)), Tensor("attention_mask", "INT64", (-1,)))
_MODELS = Path(__file__).parent / "triton_models"
_WARMUP_LENGTHS = (16, 128)


def outputs(labels: int, hidden_size: int) -> tuple[Tensor, ...]:
    """Return the classifier's outputs."""
    return (Tensor("logits", "FP32", (labels,)), Tensor("embedding", "FP32", (hidden_size,)))


def write_classifier(directory: Path, *, labels: int, hidden_size: int, max_length: int, tensorrt: bool) -> None:
    """Write `config.pbtxt` for the python backend, which every Triton has, and `configs/` for those that NVIDIA's container adds.

    The configurations name each version's SHA-256, by which a client knows that it speaks to the model it expects.

    Args:
        directory: the classifier's, with its version directories filled.
        labels: of the model.
        hidden_size: of the model.
        max_length: of the model's window.
        tensorrt: also write the configuration of its plan.
    """
    versions = sorted(path for path in directory.iterdir() if path.name.isdigit())
    backends: dict[Backend, Path] = {"python": Path("config.pbtxt"), "onnxruntime": Path("configs/onnxruntime.pbtxt")}
    if tensorrt:
        backends["tensorrt"] = Path("configs/tensorrt.pbtxt")
    (directory / "configs").mkdir(exist_ok=True)
    for backend, path in backends.items():
        config = TritonConfig(
            name=CLASSIFIER,
            backend=backend,
            inputs=INPUTS,
            outputs=outputs(labels, hidden_size),
            profiles=len(shapes(max_length)) if backend == "tensorrt" else 0,
            warmup_lengths=tuple(length for length in _WARMUP_LENGTHS if length <= max_length),
            parameters={f"model_sha256.{version.name}": file_sha256(version / "model.onnx") for version in versions},
        )
        (directory / path).write_text(config.to_pbtxt(), encoding="utf-8")
    for version in versions:
        (version / "model.py").write_bytes((_MODELS / f"{CLASSIFIER}.py").read_bytes())


def write_text_model(repository: Path, *, labels: int) -> None:
    """Write `emotion_text/`, which takes text and asks the classifier beside it."""
    version = repository / TEXT / "1"
    version.mkdir(parents=True, exist_ok=True)
    config = TritonConfig(
        name=TEXT,
        backend="python",
        inputs=(Tensor("text", "STRING", (1,)),),
        outputs=(Tensor("probabilities", "FP32", (labels,)), Tensor("labels", "STRING", (1,))),
    )
    (version.parent / "config.pbtxt").write_text(config.to_pbtxt(), encoding="utf-8")
    (version / "model.py").write_bytes((_MODELS / f"{TEXT}.py").read_bytes())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
