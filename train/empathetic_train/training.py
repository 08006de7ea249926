"""Trains a classifier with the Hugging Face Trainer, on one device or under `accelerate launch`.

Knows no reports and no finished checkpoints: a configuration and data come in, a model goes out; its own state is in a
working directory.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import SequentialSampler
from tqdm.auto import tqdm
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from . import model as emotion_model
from .config import TrainConfig
from .errors import ConfigError
from .goemotions import EmotionData
from .losses import LOSSES
from .metrics import f1_scores, sigmoid
from .model import EmotionModel
from .processes import is_cpu_run, process
from .thresholds import decide_held_out

logger = logging.getLogger(__name__)


class EmotionTrainer(Trainer):
    """Trainer with our loss on soft or hard targets and a learning rate per layer."""

    def __init__(self, config: TrainConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Apply the configured loss to smoothed targets."""
        targets = inputs.pop("labels").float()
        outputs = model(inputs["input_ids"], inputs["attention_mask"])
        if model.training:
            targets = targets + self.config.label_smoothing * (0.5 - targets)
        loss = LOSSES[self.config.loss](outputs.logits, targets)
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Build AdamW with one parameter group per layer, and none of the decay on biases and norms."""
        if self.optimizer is None:
            groups = parameter_groups(self.accelerator.unwrap_model(self.model), self.config)
            self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)
        return self.optimizer

    def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler:
        """Keep the order of the dev split, which is sorted: the Trainer's own, by length, is drawn anew each time."""
        return SequentialSampler(eval_dataset)

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        """Return the logits alone: the pooled vectors would be gathered for nothing."""
        inputs = self._prepare_inputs(inputs)
        labels = inputs["labels"]
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, dict(inputs), return_outputs=True)
        return loss.detach(), outputs.logits.float(), labels


def parameter_groups(model: EmotionModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by learning rate and weight decay.

    The head has its own rate; the encoder's layer k of n has `learning_rate * layer_decay ** (n - 1 - k)`, its embeddings
    one step less than layer 0 (Howard and Ruder, 2018).
    """
    depth = model.config.num_hidden_layers
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name.startswith("classifier."):
            rate = config.head_learning_rate or config.learning_rate
        else:
            parts = name.split(".")
            layer = int(parts[parts.index("layer") + 1]) if "layer" in parts else (-1 if "embeddings" in parts else depth - 1)
            rate = config.learning_rate * config.layer_decay ** (depth - 1 - layer)
        decay = 0.0 if parameter.ndim < 2 else config.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


def train(config: TrainConfig, data: EmotionData, work_dir: Path) -> tuple[EmotionModel, PreTrainedTokenizerBase, list[dict[str, Any]]]:
    """Train from the base model, or go on from the last whole checkpoint in `work_dir`.

    Returns:
        the model with the best dev score, its tokenizer, and the Trainer's log history.

    Raises:
        ConfigError: the base model cannot be used, or the averaged checkpoints do not fit the data or the settings.
        CheckpointError: a teacher or an averaged checkpoint cannot be used.
    """
    tokenizer = emotion_model.load_tokenizer(config.average[0] if config.average else config.model_name)
    torch.manual_seed(config.seed)
    model = _initial_model(config, data)
    limit = emotion_model.longest_input(model.config)
    if config.max_length > limit:
        raise ConfigError(f"max_length = {config.max_length}: the base model has positions for {limit} tokens")
    if config.epochs == 0:
        return model, tokenizer, []
    work_dir.mkdir(parents=True, exist_ok=True)
    targets = data.targets["train"]
    if config.teachers:
        targets = (1 - config.distill_weight) * targets + config.distill_weight * _teach(config, data, work_dir / "teachers.npy")
    dev = data.tokenized("dev", tokenizer, config.max_length)
    trainer = EmotionTrainer(
        config,
        model=model,
        args=_arguments(config, work_dir.resolve()),
        train_dataset=data.tokenized("train", tokenizer, config.max_length, targets=targets),
        eval_dataset=dev.select(np.argsort(dev["length"], kind="stable")),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_dev_score,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=config.patience)],
    )
    last = last_checkpoint(work_dir)
    if last:
        logger.info("resuming from %s", last)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    return model, tokenizer, trainer.state.log_history


def last_checkpoint(work_dir: Path) -> Path | None:
    """Return the newest checkpoint that was written whole: the Trainer writes its state file last."""
    found = sorted(work_dir.resolve().glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            logger.info("%s is incomplete and not resumed from", path)
            continue
        return path
    return None


def predict(
    model: EmotionModel, texts: Dataset, tokenizer: PreTrainedTokenizerBase, *, title: str, batch_size: int = 64
) -> NDArray[np.float32]:
    """Return probabilities (texts, labels) of tokenized texts, computed in order of length so that little is padding."""
    device = process().device
    model.to(device).eval()
    collate = DataCollatorWithPadding(tokenizer)
    columns = texts.select_columns(["input_ids", "attention_mask"])
    order = np.argsort(texts["length"], kind="stable")
    probabilities = np.empty((len(order), model.config.num_labels), dtype=np.float32)
    for start in tqdm(range(0, len(order), batch_size), desc=title):
        chosen = order[start : start + batch_size]
        batch = collate([columns[int(row)] for row in chosen])
        with torch.inference_mode():
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device)).logits
        probabilities[chosen] = sigmoid(logits.float().cpu().numpy())
    return probabilities


def _initial_model(config: TrainConfig, data: EmotionData) -> EmotionModel:
    if not config.average:
        return emotion_model.from_base(
            config.model_name, labels=data.labels, pooling=config.pooling, dropout=config.dropout, head_bias=config.head_bias
        )
    model = emotion_model.average([Path(directory) for directory in config.average], dropout=config.dropout)
    if emotion_model.labels_of(model) != data.labels:
        raise ConfigError(f"average: {config.average[0]} was trained on other labels than the data's")
    if model.config.pooling != config.pooling:
        raise ConfigError(f"average: {config.average[0]} was trained with pooling = {model.config.pooling!r}, not {config.pooling!r}")
    return model


def _teach(config: TrainConfig, data: EmotionData, kept: Path) -> NDArray[np.float32]:
    """Mean probabilities of the teachers on the training texts; computed by one process and kept for the others and a resumed run."""
    state = process()
    if state.is_main_process and not kept.exists():
        total = np.zeros_like(data.targets["train"])
        for directory in config.teachers:
            teacher = emotion_model.load(Path(directory))
            if emotion_model.labels_of(teacher) != data.labels:
                raise ConfigError(f"teachers: {directory} was trained on other labels than the data's")
            tokenizer = emotion_model.load_tokenizer(directory)
            total += predict(teacher, data.tokenized("train", tokenizer, config.max_length), tokenizer, title=f"teacher {directory}")
        partial = kept.with_suffix(".partial.npy")
        np.save(partial, total / len(config.teachers))
        partial.replace(kept)
    state.wait_for_everyone()
    probabilities: NDArray[np.float32] = np.load(kept)
    return probabilities


def _dev_score(prediction: EvalPrediction) -> dict[str, float]:
    """Score dev for choosing the checkpoint: the mean of micro and macro F1, each text decided by thresholds fitted on others."""
    probabilities, targets = sigmoid(np.asarray(prediction.predictions)), np.asarray(prediction.label_ids).round().astype(int)
    micro, macro = f1_scores(decide_held_out(probabilities, targets), targets)
    return {"micro_f1": micro, "macro_f1": macro, "score": (micro + macro) / 2}


def _arguments(config: TrainConfig, work_dir: Path) -> TrainingArguments:
    cuda = torch.cuda.is_available() and not is_cpu_run()
    return TrainingArguments(
        output_dir=str(work_dir),
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=64,
        gradient_accumulation_steps=config.gradient_accumulation,
        num_train_epochs=config.epochs,
        warmup_ratio=config.warmup_ratio,
        lr_scheduler_type="linear",
        seed=config.seed,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        fp16=cuda and not torch.cuda.is_bf16_supported(),
        group_by_length=True,
        length_column_name="length",
        label_names=["labels"],
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        save_safetensors=True,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,  # early stopping goes on counting after a resume
        logging_steps=50,
        logging_dir=str(work_dir / "tensorboard"),
        report_to=[] if config.disable_tensorboard else ["tensorboard"],
        remove_unused_columns=False,
        disable_tqdm=False,
        use_cpu=is_cpu_run(),
        dataloader_pin_memory=cuda,
    )
