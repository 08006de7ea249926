"""Reads a finished checkpoint: the encoder with its pooling and head, tokenizer, thresholds and metrics.

The files are the contract with `train/`, which is not imported; this module declares the model a second time, as their reader.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

from .errors import CheckpointError


class PooledClassifier(PreTrainedModel):
    """Encoder, pooled vector, linear head. Token types are constant inside, so that every family takes the same two inputs."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        # BERT and RoBERTa would add an untrained pooling layer; DeBERTa has none to leave out.
        pooler = {"add_pooling_layer": False} if config.model_type in {"bert", "roberta"} else {}
        # The graph optimizer knows the eager attention's nodes.
        self.encoder = AutoModel.from_config(config, attn_implementation="eager", **pooler)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> ModelOutput:
        """Return `logits` (batch, labels) and `embedding` (batch, hidden) for int64 ids and mask (batch, sequence)."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.pooling == "mean":
            weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
            embedding = (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        else:
            embedding = tokens[:, 0]
        return ModelOutput(logits=self.classifier(embedding), embedding=embedding)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model and what was decided with it."""

    directory: Path
    model: PooledClassifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    single_threshold: float
    max_length: int
    pad_id: int
    metrics: dict[str, Any]
    training: dict[str, Any]


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint that `empathetic-train` finished.

    Raises:
        CheckpointError: it is unfinished, or a file is missing or does not fit the others.
    """
    if not (directory / "training.json").is_file():
        raise CheckpointError(f"{directory}: no training.json: not a checkpoint, or its training has not finished")
    training = _read_json(directory / "training.json")
    decided = _read_json(directory / "thresholds.json")
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        labels = tuple(config.id2label[index] for index in range(config.num_labels))
        if config.pooling not in {"first", "mean"}:
            raise CheckpointError(f"{directory / 'config.json'}: unknown pooling {config.pooling!r}")
        model = PooledClassifier(config)
        model.load_state_dict(load_file(directory / "model.safetensors"))
        model.train(False)
        return Checkpoint(
            directory=directory,
            model=model,
            tokenizer=_read_tokenizer(directory / "tokenizer.json"),
            labels=labels,
            thresholds=tuple(float(decided["per_label"][label]) for label in labels),
            single_threshold=float(decided["single"]),
            max_length=int(training["max_length"]),
            pad_id=int(config.pad_token_id or 0),
            metrics=_read_json(directory / "metrics.json"),
            training=training,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as exc:
        raise CheckpointError(f"{directory}: {type(exc).__name__}: {' '.join(str(exc).split())[:300]}") from exc


def probabilities(model: PooledClassifier, ids: Any, mask: Any) -> Any:
    """Score a batch in PyTorch fp32: NumPy int64 (batch, sequence) twice, to NumPy float32 (batch, labels)."""
    with torch.inference_mode():
        return torch.sigmoid(model(torch.from_numpy(ids), torch.from_numpy(mask)).logits).numpy()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise CheckpointError(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise CheckpointError(f"{path}: not JSON: {exc}") from exc
    return content


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the Rust library raises bare Exception
        raise CheckpointError(f"{path}: {exc}") from exc
    # The server cuts and pads; a tokenizer that also did would hide what was cut.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
