"""Trains one stage with the Hugging Face Trainer, on a processor or one GPU. Knows rows of tokens, and no texts.

A stage can be killed at any time: the Trainer's checkpoints hold weights, optimizer, schedule, random state and position, and one that
was not written whole is not resumed from.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoint import TENSORBOARD
from ..processes import is_cpu_run
from ..training import last_checkpoint
from .config import ResponderConfig
from .optimizers import build_optimizer
from .packing import PackedRows

logger = logging.getLogger(__name__)

# Of the peak, where the cosine ends: the last steps still learn.
_LAST_RATE = 0.1
_EVALUATIONS = 5
_LOG_STEPS = 25


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's name, which is its folder's, too, and how long and how fast it learns."""

    name: str
    epochs: float
    learning_rate: float


class _SaveByTime(TrainerCallback):
    """Asks for a checkpoint when enough time has passed: how many steps that is depends on the machine."""

    def __init__(self, minutes: float) -> None:
        self.interval_s = minutes * 60
        self.saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if time.monotonic() - self.saved_at >= self.interval_s:
            control.should_save = True
            self.saved_at = time.monotonic()


class _LogToFile(TrainerCallback):
    """Hands the Trainer's figures to our logger, which writes them to terminal and file."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        figures = " ".join(f"{name}={value:.5g}" for name, value in (logs or {}).items() if isinstance(value, (int, float)))
        logger.info("%s %d/%d %s", self.stage, state.global_step, state.max_steps, figures)


def train(
    config: ResponderConfig, stage: Stage, model: LlamaForCausalLM, *, rows: PackedRows, held_out: PackedRows, work_dir: Path
) -> list[dict[str, Any]]:
    """Train `model` in place, or go on from the last whole checkpoint of this stage in `work_dir`.

    Returns:
        the Trainer's log history.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    folder = work_dir / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = build_optimizer(config.optimizer, model, learning_rate=stage.learning_rate, weight_decay=config.weight_decay)
    trainer = Trainer(
        model=model,
        optimizers=(optimizer, None),  # the schedule is the Trainer's own
        args=_arguments(config, stage, work_dir.resolve()),
        train_dataset=rows,
        eval_dataset=held_out,
        callbacks=[_SaveByTime(config.save_minutes), _LogToFile(stage.name)],
    )
    last = last_checkpoint(folder)
    if last:
        logger.info("resuming from %s", last)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    history: list[dict[str, Any]] = trainer.state.log_history
    return history


def has_compiler() -> bool:
    """Say whether torch finds a C++ compiler, which it builds its own code with."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)


def _arguments(config: ResponderConfig, stage: Stage, work_dir: Path) -> TrainingArguments:
    on_cpu = is_cpu_run()
    compiled = config.compile and has_compiler()
    if config.compile and not compiled:
        logger.warning("no C++ compiler is found: the model is not compiled, and trains more slowly")
    return TrainingArguments(
        output_dir=str(work_dir / stage.name),
        per_device_train_batch_size=config.batch_rows,
        per_device_eval_batch_size=config.batch_rows,
        num_train_epochs=stage.epochs,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": _LAST_RATE},
        warmup_ratio=config.warmup_ratio,
        seed=config.seed,
        bf16=torch.cpu._is_avx512_bf16_supported() if on_cpu else torch.cuda.is_bf16_supported(),
        torch_compile=compiled,
        eval_strategy="steps",
        eval_steps=1 / _EVALUATIONS,
        prediction_loss_only=True,
        label_names=["labels"],
        save_strategy="no",  # `_SaveByTime` asks for checkpoints
        save_total_limit=2,
        save_safetensors=True,
        logging_steps=_LOG_STEPS,
        logging_dir=str(work_dir / TENSORBOARD / stage.name),
        report_to=[] if config.disable_tensorboard else ["tensorboard"],
        remove_unused_columns=False,
        disable_tqdm=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
    )
