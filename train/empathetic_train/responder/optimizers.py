"""The optimizer: Muon for the matrices inside the layers, AdamW for the rest. Knows no Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Two of torch's optimizers in one, because the Trainer, its schedule and its checkpoints know only one.

    Muon turns the update of a matrix into its nearest orthogonal one, which makes use of all of its directions; it is made for the
    matrices between activations. Scaled as AdamW's updates are, both take one learning rate (Liu et al., 2025).
    """

    def __init__(self, model: nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        inner = [parameter for name, parameter in trained if parameter.ndim == 2 and ".layers." in name]
        tokens = [parameter for name, parameter in trained if parameter.ndim == 2 and ".layers." not in name]
        norms = [parameter for _, parameter in trained if parameter.ndim < 2]
        groups = [{"params": tokens, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]
        self.parts: tuple[Optimizer, Optimizer] = (
            Muon(inner, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            # With few and noisy steps, the usual second beta of 0.999 averages over too many of them.
            AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True),
        )
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Let the schedule, which writes into our groups, write into those of the parts."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # the Trainer gives no closure
        """Update every parameter."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the states of both back."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def build_optimizer(name: str, model: nn.Module, *, learning_rate: float, weight_decay: float) -> Optimizer:
    """Build an optimizer by its name in the recipe."""
    if name == "muon":
        return MuonWithAdamW(model, learning_rate=learning_rate, weight_decay=weight_decay)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    norms = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
