"""What holds for every way to score, and how weights and batches get onto the device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Batch


class Missing(Exception):
    """This machine has not what a path needs; the others are measured."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for every path."""

    device: torch.device
    token_budget: int
    compiler: str

    @property
    def dtype(self) -> torch.dtype:
        """Half precision where the device is made for it."""
        return torch.float16 if self.device.type == "cuda" else torch.float32


def cast(module: nn.Module, conditions: Conditions) -> Any:
    """Return a copy on the device, in its precision."""
    return copy.deepcopy(module).to(conditions.device, conditions.dtype)


def on_device(batch: Batch, device: torch.device) -> Iterator[Tensor]:
    """Send a batch's arrays to the device."""
    for array in batch.arrays:
        tensor = torch.from_numpy(array)
        # Pinned memory is copied while the host goes on; torch keeps it until the copy is done.
        yield tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
