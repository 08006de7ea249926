"""The classifier: a pre-trained encoder, one pooled vector, one linear layer. Knows no data and no training.

A checkpoint is an ordinary Hugging Face directory (`config.json`, `model.safetensors`, tokenizer files) whose
config also holds `pooling` and whose tensors are named `encoder.*` and `classifier.*`; `export/` reads it back from
the files alone.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from .errors import CheckpointError, ConfigError

WEIGHTS_FILE = "model.safetensors"
_PACKAGE = "package:"


class EmotionModel(nn.Module):
    """Encoder, pooling and linear head over independent labels."""

    def __init__(self, encoder: nn.Module, config: PretrainedConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        dropout = getattr(config, "classifier_dropout", None)
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        """Score a batch.

        Args:
            input_ids: token ids, (batch, sequence), int64.
            attention_mask: 1 for a token, 0 for padding, (batch, sequence), int64.

        Returns:
            `logits` (batch, labels) and, as `hidden_states`, the pooled vectors (batch, hidden).
        """
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.pooling == "mean":
            weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
            embedding = (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        else:
            embedding = tokens[:, 0]
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(embedding)), hidden_states=embedding)

    def save(self, directory: Path) -> None:
        """Write `config.json` and the weights."""
        self.config.save_pretrained(directory)
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()}, directory / WEIGHTS_FILE, metadata={"format": "pt"}
        )


def locate(name: str) -> str:
    """Return what `from_pretrained` takes for a base model's name.

    `package:NAME/FOLDER` becomes that folder of an installed Python package, which is found and not imported: so a recipe
    can name weights that arrive by pip. Other names are returned as they are.

    Raises:
        ConfigError: the package is not installed, or has no such folder.
    """
    if not name.startswith(_PACKAGE):
        return name
    package, _, folder = name.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"model_name = {name!r}: the Python package {package!r} is not installed")
    for location in spec.submodule_search_locations:
        if (Path(location) / folder).is_dir():
            return str(Path(location) / folder)
    raise ConfigError(f"model_name = {name!r}: the Python package {package!r} has no folder {folder!r}")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a base model or checkpoint.

    Raises:
        ConfigError: there is none.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(locate(name), use_fast=True)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"tokenizer of {name!r}: {' '.join(str(exc).split())}") from exc
    return tokenizer


def from_base(name: str, *, labels: Sequence[str], pooling: str, dropout: float | None, head_bias: float) -> EmotionModel:
    """Load a pre-trained encoder and put a fresh head on it.

    Raises:
        ConfigError: the base model is neither a local directory nor reachable on the Hub, or is no such encoder.
    """
    try:
        config = AutoConfig.from_pretrained(locate(name))
        config.pooling = pooling
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        config.problem_type = "multi_label_classification"
        set_dropout(config, dropout)
        encoder = AutoModel.from_pretrained(locate(name), config=config, **_without_pooler(config))
        model = EmotionModel(encoder, config)
    except (OSError, ValueError, AttributeError, SafetensorError) as exc:
        raise ConfigError(f"model_name = {name!r}: {' '.join(str(exc).split())}") from exc
    nn.init.normal_(model.classifier.weight, std=0.02)  # BERT's initializer_range
    nn.init.constant_(model.classifier.bias, head_bias)
    return model


def load(directory: Path, *, dropout: float | None = None) -> EmotionModel:
    """Read a checkpoint that `EmotionModel.save` wrote; `dropout` replaces the one that it was trained with.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        set_dropout(config, dropout)
        model = EmotionModel(AutoModel.from_config(config, **_without_pooler(config)), config)
        model.load_state_dict(load_file(directory / WEIGHTS_FILE))
    except (OSError, ValueError, RuntimeError, AttributeError, SafetensorError) as exc:
        raise CheckpointError(f"checkpoint {directory}: {' '.join(str(exc).split())}") from exc
    return model


def labels_of(model: EmotionModel) -> tuple[str, ...]:
    """Return the labels in the order of the logits."""
    names = model.config.id2label or {}
    return tuple(names[index] for index in range(len(names)))


def set_dropout(config: PretrainedConfig, dropout: float | None) -> None:
    """Set every dropout of encoder and head, or leave the base model's when None."""
    if dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = config.classifier_dropout = dropout


def longest_input(config: PretrainedConfig) -> int:
    """Return how many tokens the encoder has positions for; RoBERTa's begin behind its padding id."""
    offset = (config.pad_token_id or 0) + 1 if config.model_type in {"roberta", "xlm-roberta", "camembert"} else 0
    return int(config.max_position_embeddings) - offset


def average(directories: Sequence[Path], *, dropout: float | None = None) -> EmotionModel:
    """Average the weights of checkpoints that started from the same base ("model soup", Wortsman et al., 2022).

    Raises:
        CheckpointError: a checkpoint is missing or has other tensors, labels or pooling than the first.
    """
    models = [load(directory, dropout=dropout) for directory in directories]
    first = models[0].state_dict()
    for directory, model in zip(directories, models, strict=True):
        if (labels_of(model), model.config.pooling) != (labels_of(models[0]), models[0].config.pooling):
            raise CheckpointError(f"checkpoint {directory}: its labels or pooling differ from those of {directories[0]}")
        if {name: tensor.shape for name, tensor in model.state_dict().items()} != {name: tensor.shape for name, tensor in first.items()}:
            raise CheckpointError(f"checkpoint {directory}: its tensors differ from those of {directories[0]}")
    mean = {
        name: torch.stack([model.state_dict()[name].float() for model in models]).mean(dim=0).to(tensor.dtype)
        for name, tensor in first.items()
    }
    models[0].load_state_dict(mean)
    return models[0]


def _without_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """BERT and RoBERTa would add an unused, untrained pooling layer; DeBERTa has none to leave out."""
    encoder: Any = MODEL_MAPPING[type(config)]
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(encoder).parameters else {}
