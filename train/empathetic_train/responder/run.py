"""One responder run from configuration to files: read, tokenize, pre-train, fine-tune, measure, publish.

Knows the order of the stages and none of their insides. What a stage has finished lies in `run/` until the model is published, so that
a repeated command goes on where the last one ended.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .. import checkpoint
from ..errors import ConfigError
from ..run import device, versions
from . import documents, model, perplexity, sources, training
from .config import ResponderConfig
from .examples import Example, find_examples, vary_notes, write_notes
from .feelings import find_feelings
from .held_out import FILE as HELD_OUT
from .held_out import write_held_out
from .notes import Feelings
from .packing import Document, PackedRows, pack
from .sources import Sources
from .tokenizer import load_tokenizer, train_tokenizer

logger = logging.getLogger(__name__)

LOG = "train.log"
PRETRAINED = "pretrained"  # the model before fine-tuning, a finished checkpoint of its own: the baseline to measure against
_TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True)
class _Examples:
    """Examples to tune on, and those to measure on, by split."""

    tuning: list[Example]
    measured: dict[str, list[Example]]


def run(config: ResponderConfig) -> Path:
    """Train unless a finished model is there.

    Returns:
        the file of its figures.

    Raises:
        TrainError: something that the user can put right.
    """
    directory = Path(config.checkpoint_dir)
    if not config.data:
        raise ConfigError("data = None: the responder needs a directory with dialogue/ and books/")
    if config.force_train:
        checkpoint.discard(directory)
    is_finished = checkpoint.is_finished(directory)
    if is_finished:
        logger.warning("%s holds a finished model: nothing is trained (--force-train trains)", directory)
        if (directory / HELD_OUT).is_file() and not (config.evaluate_test and _lacks_test(directory, "tuned")):
            return directory / "metrics.json"
    found = sources.read(
        Path(config.data),
        held_out_percent=config.held_out_percent,
        book_characters=config.book_characters,
        task_dialogues=config.task_dialogues,
        with_test=config.evaluate_test,
        seed=config.seed,
    )
    if is_finished:
        _complete(config, found, directory)
        return directory / "metrics.json"
    started_at = checkpoint.begin(directory, config, found.sha256)
    handler = logging.FileHandler(directory / LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("empathetic_train").addHandler(handler)
    try:
        return _run(config, found, directory, started_at)
    finally:
        logging.getLogger("empathetic_train").removeHandler(handler)
        handler.close()


def _lacks_test(directory: Path, stage: str) -> bool:
    return "test" not in checkpoint.read_json(directory / "metrics.json")[stage]


def _complete(config: ResponderConfig, found: Sources, directory: Path) -> None:
    """Give a finished model, and the one before fine-tuning beside it, what was not kept or not asked for when it was trained."""
    measured = _measured(config, found)
    for stage, folder in ((PRETRAINED, directory / PRETRAINED), ("tuned", directory)):
        if not checkpoint.is_finished(folder):  # made by an earlier version, which did not keep it
            continue
        write_held_out(folder / HELD_OUT, measured["held_out"])
        if config.evaluate_test and _lacks_test(folder, stage):
            tokenizer, metrics = load_tokenizer(folder), checkpoint.read_json(folder / "metrics.json")
            metrics[stage]["test"] = perplexity.measure(model.load(folder), tokenizer, measured["test"], title="measuring test")
            checkpoint.write_json(folder / "metrics.json", metrics)


def _run(config: ResponderConfig, found: Sources, directory: Path, started_at: str) -> Path:
    began = time.monotonic()
    logger.info("%d conversations, %d held out, %d dropped", len(found.conversations), len(found.held_out), found.dropped)
    work = checkpoint.work_dir(directory)
    texts = [documents.conversation_text(conversation) for conversation in found.conversations]
    texts += [documents.passage_text(passage) for passage in found.books]
    examples, feelings = _examples(config, found)
    labels = {label for felt in feelings.values() for label in felt.labels}
    tokenizer = _kept(
        work / _TOKENIZER,
        load_tokenizer,
        lambda folder: train_tokenizer(
            documents.tokenizer_texts(texts, labels), vocabulary=config.vocabulary, window=config.row_tokens
        ).save_pretrained(folder),
    )
    pretrained, history = _pretrain(config, found, texts, tokenizer, work)
    staging = checkpoint.stage(directory)
    baseline = staging / PRETRAINED
    model.save(pretrained, tokenizer, baseline)  # now, for fine-tuning goes on with the same tensors
    measured = {"pretrained": _measure(model.load(baseline), tokenizer, examples)}
    tuned, tuning_history = _tune(config, pretrained, examples, tokenizer, work)
    model.save(tuned, tokenizer, staging)
    measured["tuned"] = _measure(model.load(staging), tokenizer, examples)
    record = {
        "config": checkpoint.settings(config),
        "parameters": tuned.num_parameters(),
        "pieces": len(tokenizer),
        "versions": versions(),
        "device": device(),
        "data": {"conversations": len(found.conversations), "held_out": len(found.held_out), "dropped": found.dropped},
        "data_sha256": found.sha256,
        "started_at": started_at,
        "finished_at": checkpoint.now(),
        "minutes_of_last_call": round((time.monotonic() - began) / 60, 1),
    }
    for folder, figures in ((baseline, {"pretrained": measured["pretrained"]}), (staging, measured)):
        write_held_out(folder / HELD_OUT, examples.measured["held_out"])
        checkpoint.write_json(folder / "metrics.json", figures)
    checkpoint.write_json(baseline / checkpoint.FINISHED, {**record, "history": history})
    checkpoint.publish(directory, {**record, "history": history + tuning_history})
    logger.info("finished: %s", json.dumps(measured))
    return directory / "metrics.json"


def _examples(config: ResponderConfig, found: Sources) -> tuple[_Examples, dict[str, Feelings]]:
    tuning = find_examples(found.conversations)
    feelings = _feelings(config, tuning)
    varied = vary_notes(tuning, feelings, random.Random(config.seed))  # noqa: S311  # no secret
    return _Examples(varied, _measured(config, found)), feelings


def _measured(config: ResponderConfig, found: Sources) -> dict[str, list[Example]]:
    measured = {"held_out": find_examples(found.held_out, every_reply=True)}
    if config.evaluate_test:
        measured["test"] = find_examples(found.test, every_reply=True)
    feelings = _feelings(config, [example for rows in measured.values() for example in rows])
    return {split: write_notes(rows, feelings) for split, rows in measured.items()}


def _feelings(config: ResponderConfig, examples: list[Example]) -> dict[str, Feelings]:
    return find_feelings(
        [example.message for example in examples],
        classifier=Path(config.classifier),
        cache=Path(config.cache_dir).expanduser(),
        threads=config.threads,
    )


def _pretrain(
    config: ResponderConfig, found: Sources, texts: list[str], tokenizer: PreTrainedTokenizerFast, work: Path
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    folder = work / PRETRAINED
    history: list[dict[str, Any]] = []

    def train(partial: Path) -> None:
        built = model.build(config, tokenizer)
        if config.pretrain_epochs:
            rows = _pack(config, documents.pretraining_documents(texts, tokenizer, config.row_tokens), tokenizer)
            held_out = [documents.conversation_text(conversation) for conversation in found.held_out]
            held_rows = _pack(config, documents.pretraining_documents(held_out, tokenizer, config.row_tokens), tokenizer)
            stage = training.Stage("pretrain", config.pretrain_epochs, config.pretrain_learning_rate)
            logger.info("%d parameters, %d tokens in %d rows", built.num_parameters(), rows.learned_tokens, len(rows))
            history.extend(training.train(config, stage, built, rows=rows, held_out=held_rows, work_dir=work))
        built.save_pretrained(partial)  # in full precision: fine-tuning goes on from here
        checkpoint.write_json(partial / "history.json", history)

    pretrained = _kept(folder, model.load, train)
    return pretrained, checkpoint.read_json(folder / "history.json")


def _tune(
    config: ResponderConfig, pretrained: LlamaForCausalLM, examples: _Examples, tokenizer: PreTrainedTokenizerFast, work: Path
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    rows = _pack(config, documents.tuning_documents(examples.tuning, tokenizer, config.row_tokens), tokenizer)
    held_rows = _pack(config, documents.tuning_documents(examples.measured["held_out"], tokenizer, config.row_tokens), tokenizer)
    stage = training.Stage("tune", config.tune_epochs, config.tune_learning_rate)
    logger.info("%d examples, %d tokens to learn in %d rows", len(examples.tuning), rows.learned_tokens, len(rows))
    pretrained.train()
    torch.manual_seed(config.seed)
    return pretrained, training.train(config, stage, pretrained, rows=rows, held_out=held_rows, work_dir=work)


def _measure(measured: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, examples: _Examples) -> dict[str, Any]:
    return {split: perplexity.measure(measured, tokenizer, rows, title=f"measuring {split}") for split, rows in examples.measured.items()}


def _pack(config: ResponderConfig, found: list[Document], tokenizer: PreTrainedTokenizerFast) -> PackedRows:
    return pack(found, config.row_tokens, tokenizer.pad_token_id, batch_rows=config.batch_rows)


def _kept(folder: Path, load: Callable[[Path], Any], write: Callable[[Path], Any]) -> Any:
    """Load what an earlier call wrote into a folder, or write it first, whole or not at all."""
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write(partial)
        partial.replace(folder)
    return load(folder)
