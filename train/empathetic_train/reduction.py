"""Makes a trained model smaller, in place: fewer encoder layers, fewer feed-forward neurons in each. Knows no data and no training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ConfigError
from .model import EmotionModel


def keep_layers(model: EmotionModel, layers: Sequence[int]) -> None:
    """Keep these encoder layers, counted from 0, in their order.

    Raises:
        ConfigError: the model has no such layer.
    """
    blocks = _blocks(model)
    if max(layers) >= len(blocks):
        raise ConfigError(f"layers = {tuple(layers)}: the start has {len(blocks)} layers, counted from 0")
    _encoder(model).layer = nn.ModuleList(blocks[index] for index in layers)
    model.config.num_hidden_layers = _encoder_config(model).num_hidden_layers = len(layers)


def keep_neurons(model: EmotionModel, count: int, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Keep in each layer the feed-forward neurons that add most to its output: mean |activation| times the norm of its output weights.

    Args:
        model: of the BERT family.
        count: neurons that each layer keeps.
        batches: token ids and masks, (batch, sequence) each, of texts to measure the activations on.

    Raises:
        ConfigError: the layers have fewer neurons.
    """
    width = model.config.intermediate_size
    if count > width:
        raise ConfigError(f"feed_forward = {count}: the start has {width} neurons in each layer")
    blocks = _blocks(model)
    totals = [torch.zeros(width) for _ in blocks]

    def watch(total: Tensor) -> Any:
        return lambda _module, _inputs, output: total.add_(output.detach().abs().sum(dim=(0, 1)))

    hooks = [block.intermediate.register_forward_hook(watch(total)) for block, total in zip(blocks, totals, strict=True)]
    model.eval()
    with torch.inference_mode():
        for ids, mask in batches:
            model(ids, mask)
    for hook in hooks:
        hook.remove()
    for block, total in zip(blocks, totals, strict=True):
        weight = block.output.dense.weight.detach()
        kept = (total * weight.norm(dim=0)).topk(count).indices.sort().values
        _replace(block.intermediate, block.intermediate.dense.weight.detach()[kept], block.intermediate.dense.bias.detach()[kept])
        _replace(block.output, weight[:, kept], block.output.dense.bias.detach())
    model.config.intermediate_size = _encoder_config(model).intermediate_size = count


def _replace(owner: Any, weight: Tensor, bias: Tensor) -> None:
    dense = nn.Linear(weight.shape[1], weight.shape[0])
    dense.load_state_dict({"weight": weight, "bias": bias})
    owner.dense = dense


def _encoder(model: EmotionModel) -> Any:
    return model.encoder.encoder


def _encoder_config(model: EmotionModel) -> Any:
    return model.encoder.config


def _blocks(model: EmotionModel) -> list[Any]:
    return list(_encoder(model).layer)
