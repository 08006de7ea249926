"""One run from configuration to files: read, train or resume or reuse, fit thresholds on dev, evaluate, write, push.

Knows the order of the stages and none of their insides. Under `accelerate launch` every process trains; the main one does the rest.
"""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import card, checkpoint, evaluation, goemotions, hub, reports, training
from . import model as emotion_model
from .config import TrainConfig
from .errors import CheckpointError
from .goemotions import EmotionData
from .model import EmotionModel
from .prediction import predict
from .processes import process
from .thresholds import Thresholds, fit, read_thresholds, thresholds_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_RECORDED = ("empathetic-ai", "torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "numpy")


def run(config: TrainConfig, *, hub_api: hub.Api | None = None) -> Path | None:
    """Train unless a finished model is there, and write its results.

    Args:
        config: the whole configuration.
        hub_api: what pushes to the Hub (default: `huggingface_hub.HfApi()`).

    Returns:
        the new directory of results; None in every process but the main one.

    Raises:
        TrainError: something that the user can put right.
    """
    state = process()
    with state.main_process_first():  # one download; the others find it in the cache
        data = goemotions.read(Path(config.data) if config.data else None)
        if config.unlabelled:
            data = goemotions.with_unlabelled(data, Path(config.unlabelled))
    if state.is_main_process:
        logger.info("%d of %d test texts also occur in train; they are kept", data.repeated("test"), len(data.texts["test"]))
    directory = Path(config.checkpoint_dir)
    is_reused = checkpoint.is_finished(directory) and not config.force_train
    state.wait_for_everyone()  # all have looked before the main process changes what they look at
    finished = _reuse(config, data, directory) if is_reused else _train(config, data, directory)
    if finished is None:
        return None
    history, split_reports = finished
    record = checkpoint.read_json(directory / checkpoint.FINISHED)
    results = reports.write(
        Path(config.results_dir), training=record, split_reports=split_reports, history=history, card=directory / card.FILE
    )
    if config.hub_model_id:
        hub.push(directory, config.hub_model_id, api=hub_api)
    return results


def _train(config: TrainConfig, data: EmotionData, directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """Train, evaluate and publish the checkpoint; return the history and the reports by split, or None beside the main process."""
    started_at = ""
    if process().is_main_process:
        if config.force_train:
            checkpoint.discard(directory)
        started_at = checkpoint.begin(directory, config, data.sha256)
    process().wait_for_everyone()
    model, tokenizer, history = training.train(config, data, checkpoint.work_dir(directory))
    if not process().is_main_process:
        return None
    thresholds, split_reports = _evaluate(config, data, model, tokenizer, max_length=config.max_length)
    record = {
        "max_length": config.max_length,
        "config": checkpoint.settings(config),
        "base_model": _hub_name(config),
        "versions": versions(),
        "device": device(),
        "data": {
            "source": "local files" if config.data else goemotions.HUB_NAME,
            "texts": {split: len(texts) for split, texts in data.texts.items()},
            "also_in_train": {split: data.repeated(split) for split in ("dev", "test")},
        },
        "data_sha256": data.sha256,
        "started_at": started_at,
        "finished_at": checkpoint.now(),
        "history": history,
    }
    staging = checkpoint.stage(directory)
    model.save(staging)
    _save_tokenizer(tokenizer, staging)
    checkpoint.write_json(staging / "thresholds.json", thresholds_json(thresholds, data.labels, config.confidence_threshold))
    checkpoint.write_json(staging / "metrics.json", {split: report["rules"] for split, report in split_reports.items()})
    (staging / card.FILE).write_text(card.render(record, split_reports, hub_model_id=config.hub_model_id), encoding="utf-8")
    checkpoint.publish(directory, record)
    return history, split_reports


def _reuse(config: TrainConfig, data: EmotionData, directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """Evaluate the finished model in `directory` again, with its own thresholds and length."""
    if not process().is_main_process:
        return None
    logger.warning("%s holds a finished model: it is evaluated, not trained (--force-train trains)", directory)
    changed = checkpoint.changed_settings(directory, config)
    if changed:
        logger.warning("these settings are not those it was trained with: %s", ", ".join(changed))
    record = checkpoint.read_json(directory / checkpoint.FINISHED)
    model = emotion_model.load(directory)
    if emotion_model.labels_of(model) != data.labels:
        raise CheckpointError(f"checkpoint {directory}: its labels are not those of the data")
    thresholds = read_thresholds(directory / "thresholds.json", data.labels)
    tokenizer = emotion_model.load_tokenizer(str(directory))
    _, split_reports = _evaluate(config, data, model, tokenizer, max_length=record["max_length"], thresholds=thresholds)
    return record.get("history", []), split_reports


def _evaluate(
    config: TrainConfig,
    data: EmotionData,
    model: EmotionModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    thresholds: Thresholds | None = None,
) -> tuple[Thresholds, dict[str, Any]]:
    probabilities = {
        split: predict(model, data.tokenized(split, tokenizer, max_length), tokenizer, title=f"evaluating {split}").probabilities
        for split in goemotions.SPLITS
    }
    thresholds = thresholds or fit(probabilities["dev"], data.targets["dev"].astype(int))
    split_reports = {
        split: evaluation.report(
            scored,
            data.targets[split].astype(int),
            thresholds=thresholds,
            fixed=config.confidence_threshold,
            labels=data.labels,
            seed=config.seed,
        )
        for split, scored in probabilities.items()
    }
    return thresholds, split_reports


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Save the tokenizer without the truncation and padding of the last call, which would otherwise stay in tokenizer.json."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    tokenizer.save_pretrained(directory)


def _hub_name(config: TrainConfig) -> str | None:
    """Return the base model's name on the Hub, or None when it came from elsewhere."""
    is_local = bool(config.average) or emotion_model.locate(config.model_name) != config.model_name or Path(config.model_name).exists()
    return None if is_local else config.model_name


def versions() -> dict[str, str]:
    """Return the versions that a run is recorded with."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # empathetic-ai, when it runs from a clone
            continue
    return versions


def device() -> str:
    """Return what this run computes on."""
    count = process().num_processes
    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{process().device.type}, {torch.get_num_threads()} threads"
    return f"{count} x {kind}" if count > 1 else kind
