"""Trains the crisis head: a logistic regression on the classifier's `embedding` that says how much a text sounds like one of danger.

    texts ─► the exported model ─► embeddings ─► logistic regression ─► calibration ─► two thresholds ─► crisis_head.json

The classifier itself stays as it is. Sources: posts labeled for suicidal intention (noisy labels), and as everyday texts GoEmotions
and self-dialogues. Each text belongs to a fifth by a checksum, so that the same text is never on two sides: one fifth is held back
from everything but the figures in the card, one calibrates and sets the thresholds, three train.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .checkpoint import write_json
from .errors import CheckpointError, DataError

logger = logging.getLogger(__name__)

HEAD = "crisis_head.json"
_FOLDS = 5
_HELD_BACK, _CALIBRATION = 0, 1
_DIALOGUE_TURNS = 20_000
_BATCH_TOKENS = 4096
# On standardized features; of 1e-5 to 3e-3 the best loss on the calibration fifth.
_L2 = 3e-4
# Shares of everyday texts of the calibration fifth that lie above the thresholds. `concern` only shows contacts beside a reply,
# `high` only counts where the rules see concern, too.
_CONCERN_ALARMS = 0.001
_HIGH_ALARMS = 0.0005


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts with their labels (1: of danger), sources and fifths."""

    texts: list[str]
    labels: NDArray[np.float32]
    sources: NDArray[np.str_]
    folds: NDArray[np.int64]


def train_head(model: Path, data: Path) -> Path:
    """Train, and write `crisis_head.json` into the model's directory.

    Args:
        model: the exported classifier, `model_repository/emotion_classifier`.
        data: the folder with `crisis_train/`, `goemotions/` and `dialogue/`.

    Returns:
        the file.

    Raises:
        CheckpointError: the exported classifier is missing or not one.
        DataError: a source is missing or malformed.
    """
    texts = _read(data)
    logger.info("embedding %d texts", len(texts.texts))
    embeddings = _embed(model, texts.texts)
    rest = (texts.folds != _HELD_BACK) & (texts.folds != _CALIBRATION)
    weights, bias = _fit(embeddings[rest], texts.labels[rest])
    logits = embeddings @ weights + bias
    calibration = texts.folds == _CALIBRATION
    slope, shift = _fit(logits[calibration, None], texts.labels[calibration], l2=0.0)
    weights, bias = weights * slope[0], float(bias * slope[0] + shift)
    scores = _sigmoid(embeddings @ weights + bias)
    everyday = scores[calibration & (texts.sources != "posts")]
    concern, high = (float(np.quantile(everyday, 1 - share)) for share in (_CONCERN_ALARMS, _HIGH_ALARMS))
    head = {
        "schema_version": 1,
        "model_sha256": _sha256(model / "1" / "model.onnx"),
        "concern_threshold": round(concern, 4),
        "high_threshold": round(high, 4),
        "bias": round(bias, 6),
        "weights": [round(float(weight), 6) for weight in weights],
        "card": _card(texts, scores, concern, high),
    }
    path = model / HEAD
    write_json(path, head)
    return path


def _read(data: Path) -> _Texts:
    posts = _posts(data / "crisis_train" / "twitter_suicidal_intention.csv.xz")
    everyday = {"goemotions": _goemotions(data / "goemotions" / "train.tsv"), "dialogues": _dialogues(data / "dialogue")}
    labeled = posts + [(text, 0, source) for source, found in everyday.items() for text in found]
    texts, labels, sources = zip(*((text, label, source) for text, label, source in labeled if text.strip()), strict=True)
    folds = [zlib.crc32(text.encode()) % _FOLDS for text in texts]
    return _Texts(list(texts), np.array(labels, np.float32), np.array(sources), np.array(folds))


def _posts(path: Path) -> list[tuple[str, int, str]]:
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
            return [(row["tweet"], int(row["intention"]), "posts") for row in csv.DictReader(file)]
    except (OSError, EOFError, lzma.LZMAError, KeyError, ValueError) as exc:
        raise DataError(f"{path}: {exc!r}; expected a CSV file, xz-compressed, with the columns tweet and intention") from exc


def _goemotions(path: Path) -> list[str]:
    try:
        return [line.split("\t")[0] for line in path.read_text(encoding="utf-8").split("\n")]
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: {exc}") from exc


def _dialogues(folder: Path) -> list[str]:
    path = folder / "self_dialogue.jsonl.xz"
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            turns = [turn for line in file for turn in json.loads(line)["turns"]]
    except (OSError, EOFError, lzma.LZMAError, KeyError, ValueError) as exc:
        raise DataError(f"{path}: {exc!r}; expected JSON lines, xz-compressed, with turns") from exc
    drawn = np.random.default_rng(0).permutation(len(turns))[:_DIALOGUE_TURNS]
    return [turns[index] for index in drawn]


def _embed(model: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the embeddings (texts, hidden size) that the server will see."""
    try:
        manifest = json.loads((model / "manifest.json").read_bytes())
        window, pad_id = int(manifest["max_length"]), int(manifest["pad_id"])
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        session = onnxruntime.InferenceSession(str(model / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as exc:  # tokenizers and ONNX Runtime raise outside any tree
        raise CheckpointError(f"{model}: not an exported classifier ({' '.join(str(exc).split())})") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = [row.ids if len(row.ids) <= window else [*row.ids[: window - 1], row.ids[-1]] for row in tokenizer.encode_batch_fast(list(texts))]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    found: dict[int, NDArray[np.float32]] = {}
    while order:
        longest = len(ids[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, _BATCH_TOKENS // longest)))]
        padded = np.full((len(batch), longest), pad_id, np.int64)
        mask = np.zeros_like(padded)
        for row, index in enumerate(batch):
            padded[row, : len(ids[index])] = ids[index]
            mask[row, : len(ids[index])] = 1
        embeddings = session.run(["embedding"], {"input_ids": padded, "attention_mask": mask})[0]
        found.update(zip(batch, embeddings, strict=True))
    return np.stack([found[index] for index in range(len(ids))])


def _fit(features: NDArray[np.float32], labels: NDArray[np.float32], *, l2: float = _L2) -> tuple[NDArray[np.float32], float]:
    """Return weights and bias of a logistic regression, by L-BFGS on standardized features, written for the features as they are."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    inputs, targets = torch.from_numpy((features - mean) / deviation).float(), torch.from_numpy(labels)
    solution = torch.zeros(features.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([solution], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        logits = inputs @ solution[:-1] + solution[-1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets) + l2 * solution[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch annotates it in part
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # as above
    found = solution.detach().numpy()
    weights = (found[:-1] / deviation).astype(np.float32)
    return weights, float(found[-1] - weights @ mean)


def _card(texts: _Texts, scores: NDArray[np.float32], concern: float, high: float) -> dict[str, Any]:
    """Return what the head was made of, and how it does alone on the fifth that nothing was fitted on."""
    held = texts.folds == _HELD_BACK
    of_danger = held & (texts.labels == 1)
    others = held & (texts.labels == 0)
    posts = texts.sources == "posts"
    groups = {"posts_of_danger": of_danger, "posts_others": others & posts, "everyday": others & ~posts}
    return {
        "use": "raises a message that the crisis rules let pass to concern, or one at concern to high; no diagnosis, English only",
        "texts": {source: int((texts.sources == source).sum()) for source in ("posts", "goemotions", "dialogues")},
        "held_back": {
            "auc_posts": round(_auc(scores[held & posts], texts.labels[held & posts]), 4),
            "brier": round(float(np.square(scores[held] - texts.labels[held]).mean()), 4),
            "expected_calibration_error": round(_calibration_error(scores[held], texts.labels[held]), 4),
            **{
                name: {"texts": int(rows.sum()), "concern": int((scores[rows] >= concern).sum()), "high": int((scores[rows] >= high).sum())}
                for name, rows in groups.items()
            },
        },
    }


def _auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """Return the share of pairs in which the text of danger has the higher score."""
    others = np.sort(scores[labels == 0])
    return float(np.searchsorted(others, scores[labels == 1]).mean() / len(others))


def _calibration_error(scores: NDArray[np.float32], labels: NDArray[np.float32], bins: int = 15) -> float:
    """Return the mean distance of score and share, weighted by the texts in each bin (Guo et al., 2017)."""
    index = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [np.abs((scores - labels)[index == number].sum()) for number in range(bins)]
    return float(np.sum(gaps) / len(scores))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return probabilities


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
