"""Says which device this process has, and which of the run's processes it is. Knows no training."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def is_cpu_run() -> bool:
    """Say whether the run is on the CPU, because there is nothing else or because the launcher was told so."""
    return bool(parse_flag_from_env("ACCELERATE_USE_CPU")) or not torch.accelerator.is_available()


def process() -> PartialState:
    """Return this process's place in the run.

    Asked anew at each use: the Trainer replaces the state behind it. Unless it is told of the CPU, accelerate takes each of
    several CPU processes for the main one.
    """
    return PartialState(cpu=is_cpu_run())


def leave() -> None:
    """Leave the run in good order: a process that ends while its group is open may be aborted by the group's threads."""
    process().destroy_process_group()
