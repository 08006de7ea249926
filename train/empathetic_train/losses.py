"""Losses over independent labels. All take logits and targets of shape (batch, labels), targets in 0..1, and return a mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy."""
    return binary_cross_entropy_with_logits(logits, targets)


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., 2017; gamma 2 is the paper's): easy decisions weigh less. Scaled by 4 to BCE's size at p = 0.5."""
    per_label = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = (torch.sigmoid(logits) - targets).abs()
    return 4.0 * (miss.pow(gamma) * per_label).mean()


def asymmetric(logits: Tensor, targets: Tensor, gamma_negative: float = 2.0, margin: float = 0.05) -> Tensor:
    """Asymmetric loss (Ridnik et al., 2021): negatives below `margin` count nothing, easy ones little; positives count in full.

    The paper's gamma for negatives is 4 for 80 labels of images; 2 is its milder setting, for 28 labels.
    """
    shifted = (torch.sigmoid(logits) - margin).clamp(min=0.0)
    positive = targets * torch.nn.functional.logsigmoid(logits)
    negative = (1 - targets) * shifted.pow(gamma_negative) * torch.log1p(-shifted)
    return -(positive + negative).mean()


LOSSES: dict[str, Loss] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}
