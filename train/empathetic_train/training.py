"""Trains a classifier with the Hugging Face Trainer, on one device or under `accelerate launch`.

Knows no reports and no finished checkpoints: a configuration and data come in, a model goes out; its own state is in a
working directory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import SequentialSampler
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
from .distillation import training_set
from .errors import ConfigError
from .goemotions import EmotionData
from .losses import LOSSES
from .metrics import f1_scores, sigmoid
from .model import EmotionModel
from .processes import is_cpu_run
from .reduction import keep_layers, keep_neurons
from .thresholds import decide_held_out

logger = logging.getLogger(__name__)

# Training texts on which the feed-forward neurons are ranked.
_SAMPLED_TEXTS = 512


class EmotionTrainer(Trainer):
    """Trainer with our loss on soft or hard targets and a learning rate per layer."""

    def __init__(self, config: TrainConfig, *, embeddings: NDArray[np.float32] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.embeddings = None if embeddings is None else torch.from_numpy(embeddings)
        self.variance = 1.0 if embeddings is None else float(embeddings.var())

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Apply the configured loss to smoothed targets; in training add the distance from the teachers' pooled vectors."""
        targets = inputs.pop("labels").float()
        outputs = model(inputs["input_ids"], inputs["attention_mask"])
        if model.training:
            targets = targets + self.config.label_smoothing * (0.5 - targets)
        loss = LOSSES[self.config.loss](outputs.logits, targets)
        if model.training and self.embeddings is not None:
            wanted = self.embeddings[inputs["row"].cpu()].to(loss.device)
            loss = loss + self.config.embedding_weight * mse_loss(outputs.hidden_states.float(), wanted) / self.variance
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
    if config.layers:
        keep_layers(model, config.layers)
    if config.feed_forward:
        keep_neurons(model, config.feed_forward, _sample(config, data, tokenizer))
    limit = emotion_model.longest_input(model.config)
    if config.max_length > limit:
        raise ConfigError(f"max_length = {config.max_length}: the base model has positions for {limit} tokens")
    if config.epochs == 0:
        return model, tokenizer, []
    work_dir.mkdir(parents=True, exist_ok=True)
    examples = training_set(config, data, tokenizer, work_dir)
    dev = data.tokenized("dev", tokenizer, config.max_length)
    trainer = EmotionTrainer(
        config,
        model=model,
        args=_arguments(config, work_dir.resolve()),
        embeddings=examples.embeddings,
        train_dataset=examples.rows,
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


def _sample(config: TrainConfig, data: EmotionData, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[Tensor, Tensor]]:
    """Give training texts in batches of ids and masks: enough to know which neurons matter."""
    chosen = np.random.default_rng(config.seed).permutation(len(data.texts["train"]))[:_SAMPLED_TEXTS]
    for start in range(0, len(chosen), 32):
        texts = [data.texts["train"][row] for row in chosen[start : start + 32]]
        batch = tokenizer(texts, truncation=True, max_length=config.max_length, padding=True, return_tensors="pt")
        yield batch["input_ids"], batch["attention_mask"]


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
