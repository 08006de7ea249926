"""The classifier for the device: BERT's and RoBERTa's encoder, one pooled vector, linear head. Knows no batching.

    Reference   transformers' own encoder, padded: what the others must agree with
    Padded      ours, padded rows, for compiling and for ONNX
    Packed      ours, texts end to end with attention within each

Ours are one set of layers with two ways of attention: everything else works on tokens, however they lie.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, BertConfig, RobertaConfig

varlen_attn: Any
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None
HAS_VARLEN = varlen_attn is not None

_LABELS = 28
_ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
_MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
# Published models' shapes, for when no trained checkpoint is at hand: speed does not depend on the weights.
SHAPES: dict[str, Callable[[], Any]] = {
    "roberta-base": lambda: RobertaConfig(**_ROBERTA, num_labels=_LABELS, pooling="first"),
    "minilm-l6": lambda: BertConfig(**_MINILM, num_labels=_LABELS, pooling="mean"),
}

# From the matrix of query, key and value, and the tokens, to what each token takes from the others of its text.
Attention = Callable[[nn.Linear, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model to measure; `weights` says whether they are trained."""

    name: str
    reference: Reference
    weights: str
    tokenizer: Path | None
    max_length: int

    @property
    def pad_id(self) -> int:
        """The padding token."""
        return int(self.reference.config.pad_token_id or 0)

    @property
    def first_position(self) -> int:
        """Position of a text's first token: RoBERTa's begin behind its padding id."""
        return self.pad_id + 1 if self.reference.config.model_type == "roberta" else 0


def load(name: str, max_length: int) -> Classifier:
    """Load a checkpoint of `empathetic-train`, or make a model of one of `SHAPES` with random weights.

    Raises:
        OSError, KeyError, ValueError, RuntimeError: the checkpoint is not one, or not of BERT's or RoBERTa's family.
    """
    if name in SHAPES:
        return Classifier(name, _random(SHAPES[name]()), "random", None, max_length)
    directory = Path(name)
    if not (directory / "config.json").is_file():
        raise FileNotFoundError(f"{name} is no checkpoint, and none of {', '.join(SHAPES)}")
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    if config.model_type not in {"bert", "roberta"}:
        raise ValueError(f"{directory}: a model of type {config.model_type}; this benchmark knows bert and roberta")
    reference = Reference(config)
    reference.load_state_dict(load_file(directory / "model.safetensors"))
    trained_length = int(json.loads((directory / "training.json").read_text(encoding="utf-8"))["max_length"])
    return Classifier(directory.name, reference.eval(), "trained", directory / "tokenizer.json", trained_length)


def _random(config: Any) -> Reference:
    """Make weights under which every part matters, so that a path that leaves one out fails the parity gate.

    Unit gain: transformers' own start (0.02 everywhere, no biases) answers nearly the same whatever the text.
    """
    reference = Reference(config)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in reference.named_parameters():
            if weights.ndim == 2:
                weights.normal_(0, weights.shape[1] ** -0.5, generator=draw)
            else:
                weights.normal_(1 if name.endswith("LayerNorm.weight") else 0, 0.1, generator=draw)
    return reference.eval()


class Reference(nn.Module):
    """As `train/` and `export/` declare it. A checkpoint's tensors have these names."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.encoder = AutoModel.from_config(config, attn_implementation="sdpa", add_pooling_layer=False).float()
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, ids: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (rows, labels); the encoder works out the positions itself."""
        mask = (torch.arange(len(positions), device=ids.device) < lengths[:, None]).long()
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return _head(self, hidden, mask, lengths)


class _Layer(nn.Module):
    def __init__(self, hidden: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.qkv, self.mixed = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.attention_norm, self.norm = nn.LayerNorm(hidden, epsilon), nn.LayerNorm(hidden, epsilon)

    def forward(self, tokens: Tensor, attend: Attention) -> Tensor:
        tokens = self.attention_norm(tokens + self.mixed(attend(self.qkv, tokens)))
        tokens = self.norm(tokens + self.down(functional.gelu(self.up(tokens))))
        return tokens


class _Ours(nn.Module):
    """Takes the reference's weights; query, key and value become one matrix."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        config, weights = reference.config, reference.state_dict()
        self.config, self.heads = config, config.num_attention_heads
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type = nn.Parameter(weights["encoder.embeddings.token_type_embeddings.weight"][0].clone())
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        sizes = (config.hidden_size, config.intermediate_size, config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(*sizes) for _ in range(config.num_hidden_layers))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.load_state_dict(_renamed(weights, config.num_hidden_layers))
        self.eval()

    def encode(self, ids: Tensor, positions: Tensor, attend: Attention) -> Tensor:
        """Return the tokens' vectors (…, hidden)."""
        tokens: Tensor = self.norm(self.words(ids) + self.positions(positions) + self.token_type)
        for layer in self.layers:
            tokens = layer(tokens, attend)
        return tokens

    def project(self, qkv: nn.Linear, tokens: Tensor) -> list[Tensor]:
        """Return query, key and value (…, heads, size of a head)."""
        return [part.reshape(*part.shape[:-1], self.heads, -1) for part in qkv(tokens).chunk(3, dim=-1)]


def _renamed(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    embeddings = "encoder.embeddings"
    ours = {
        "words.weight": weights[f"{embeddings}.word_embeddings.weight"],
        "positions.weight": weights[f"{embeddings}.position_embeddings.weight"],
        "token_type": weights[f"{embeddings}.token_type_embeddings.weight"][0],
    }
    names = {
        "mixed": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm": "output.LayerNorm",
    }
    for kind in ("weight", "bias"):
        ours[f"norm.{kind}"] = weights[f"{embeddings}.LayerNorm.{kind}"]
        ours[f"classifier.{kind}"] = weights[f"classifier.{kind}"]
        for number in range(layers):
            theirs = f"encoder.encoder.layer.{number}"
            parts = [weights[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            ours[f"layers.{number}.qkv.{kind}"] = torch.cat(parts)
            for name, other in names.items():
                ours[f"layers.{number}.{name}.{kind}"] = weights[f"{theirs}.{other}.{kind}"]
    return ours


class Padded(_Ours):
    """Rows padded to one length."""

    def forward(self, ids: Tensor, positions: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (rows, labels)."""
        mask = positions - positions[0] < lengths[:, None]

        return _head(self, self.encode(ids, positions, self.attention(mask, lengths)), mask, lengths)

    def attention(self, mask: Tensor, lengths: Tensor) -> Attention:
        """Return torch's own attention."""

        def attend(qkv: nn.Linear, tokens: Tensor) -> Tensor:
            query, key, value = (part.transpose(1, 2) for part in self.project(qkv, tokens))
            mixed: Tensor = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
            return mixed.transpose(1, 2).flatten(-2)

        return attend


class Packed(_Ours):
    """Texts end to end; what lies behind the last one belongs to no text, and no answer depends on it."""

    def __init__(self, reference: Reference, max_length: int) -> None:
        super().__init__(reference)
        self._longest = max_length

    def forward(self, ids: Tensor, positions: Tensor, rows: Tensor, offsets: Tensor) -> Tensor:
        """Return logits (rows, labels); those of empty rows mean nothing."""

        def attend(qkv: nn.Linear, tokens: Tensor) -> Tensor:
            query, key, value = self.project(qkv, tokens)
            if not tokens.is_cuda:
                return _text_by_text(query, key, value, offsets).flatten(-2)
            mixed: Tensor = varlen_attn(query, key, value, offsets, offsets, self._longest, self._longest)
            return mixed.flatten(-2)

        hidden = self.encode(ids, positions, attend)
        count = len(offsets) - 1
        if self.config.pooling == "mean":
            sums = torch.zeros(count + 1, hidden.shape[-1], device=hidden.device).index_add_(0, rows, hidden.float())
            pooled = sums[:count] / offsets.diff().clamp(min=1)[:, None]
        else:
            pooled = hidden[offsets[:-1].clamp(max=len(ids) - 1)]
        logits: Tensor = self.classifier(pooled.to(hidden.dtype))
        return logits


def _text_by_text(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor) -> Tensor:
    """Do what the kernel does, which only CUDA has: slow, and plainly right."""
    mixed = torch.zeros_like(query)
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if end > start:
            part = [tensor[None, start:end].transpose(1, 2) for tensor in (query, key, value)]
            mixed[start:end] = functional.scaled_dot_product_attention(part[0], part[1], part[2]).transpose(1, 2)[0]
    return mixed


def _head(model: Any, hidden: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
    if model.config.pooling == "mean":
        pooled = (hidden * mask[..., None].to(hidden.dtype)).sum(dim=1) / lengths[:, None].to(hidden.dtype)
    else:
        pooled = hidden[:, 0]
    logits: Tensor = model.classifier(pooled)
    return logits
