"""Compares an exported model with its checkpoint in PyTorch fp32, and with itself in other company. Knows no export format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Checkpoint, probabilities
from .errors import ParityError
from .texts import Batch, Split, random_batches, sorted_batches, tokenize

Precision = Literal["fp32", "fp16", "int8"]
Scorer = Callable[[Batch], NDArray[np.float32]]

_BATCH = 32
# Each of these texts is scored alone and in this many random batches.
_COMPANY_TEXTS, _COMPANY_ROUNDS = 64, 20


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What an export may lose.

    Attributes:
        max_difference: of a probability, from PyTorch fp32.
        f1_loss: of dev micro and macro F1 each, at the checkpoint's thresholds.
        company_difference: of a text's probability, alone against in any batch.
    """

    max_difference: float
    f1_loss: float
    company_difference: float


# fp32 differs by rounding alone. int8 moves single probabilities far when a logit is near the steep middle of the sigmoid, so
# F1 is what bounds it. An answer that depends on its neighbors is refused at any precision.
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(1e-4, 0.001, 1e-4),
    "fp16": Tolerance(2e-2, 0.002, 2e-3),
    "int8": Tolerance(0.5, 0.015, 1e-4),
}


@dataclass(frozen=True, slots=True)
class Parity:
    """Figures of one comparison; F1 is of the dev split at the checkpoint's thresholds."""

    texts: int
    max_difference: float
    mean_difference: float
    changed_decisions: float
    company_difference: float
    micro_f1: float
    macro_f1: float
    checkpoint_micro_f1: float
    checkpoint_macro_f1: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the manifest."""
        return {name: value if isinstance(value, int) else round(value, 8) for name, value in asdict(self).items()}


def compare(checkpoint: Checkpoint, split: Split, scorer: Scorer) -> Parity:
    """Score a split with both, and a sample of it in changing company.

    Args:
        checkpoint: the reference.
        split: real texts of mixed lengths, with their labels.
        scorer: the exported model, from a batch to probabilities (rows, labels).

    `changed_decisions` is the share of texts with at least one label decided otherwise.
    """
    token_ids = tokenize(checkpoint.tokenizer, split.texts, checkpoint.max_length)
    batches = sorted_batches(token_ids, _BATCH, checkpoint.pad_id)
    reference = _gather(batches, lambda batch: probabilities(checkpoint.model, batch.ids, batch.mask), split.targets.shape)
    exported = _gather(batches, scorer, split.targets.shape)
    thresholds = np.array(checkpoint.thresholds)
    before, after = reference >= thresholds, exported >= thresholds
    micro, macro = _f1(after, split.targets)
    checkpoint_micro, checkpoint_macro = _f1(before, split.targets)
    return Parity(
        texts=len(token_ids),
        max_difference=float(np.abs(exported - reference).max()),
        mean_difference=float(np.abs(exported - reference).mean()),
        changed_decisions=float((before != after).any(axis=1).mean()),
        company_difference=_company_difference(token_ids, checkpoint.pad_id, scorer),
        micro_f1=micro,
        macro_f1=macro,
        checkpoint_micro_f1=checkpoint_micro,
        checkpoint_macro_f1=checkpoint_macro,
    )


def require(parity: Parity, tolerance: Tolerance) -> None:
    """Accept a comparison.

    Raises:
        ParityError: a figure is over its tolerance, or not a number.
    """
    checks = (
        ("largest difference of a probability from PyTorch", parity.max_difference, tolerance.max_difference),
        ("largest difference of a text alone from itself in a batch", parity.company_difference, tolerance.company_difference),
        ("loss of dev micro F1", parity.checkpoint_micro_f1 - parity.micro_f1, tolerance.f1_loss),
        ("loss of dev macro F1", parity.checkpoint_macro_f1 - parity.macro_f1, tolerance.f1_loss),
    )
    for name, value, limit in checks:
        if not value <= limit:
            raise ParityError(f"{name} is {value:.2e}, tolerance {limit:.2e}; nothing was written")


def _company_difference(token_ids: Sequence[list[int]], pad_id: int, scorer: Scorer) -> float:
    """Largest difference of a probability between a text alone and the same text in random batches."""
    by_length = sorted(token_ids, key=len)
    chosen = [by_length[index] for index in np.linspace(0, len(by_length) - 1, min(_COMPANY_TEXTS, len(by_length))).astype(int)]
    alone = np.concatenate([scorer(batch) for batch in sorted_batches(chosen, 1, pad_id)])  # one row each, in order of length
    generator = np.random.default_rng(0)
    difference = 0.0
    for _ in range(_COMPANY_ROUNDS):
        for batch in random_batches(chosen, _BATCH, pad_id, generator):
            difference = max(difference, float(np.abs(scorer(batch) - alone[batch.rows]).max()))
    return difference


def _gather(batches: Sequence[Batch], scorer: Scorer, shape: tuple[int, ...]) -> NDArray[np.float32]:
    scores = np.empty(shape, dtype=np.float32)
    for batch in batches:
        scores[batch.rows] = scorer(batch)
    return scores


def _f1(decisions: NDArray[np.bool_], targets: NDArray[np.bool_]) -> tuple[float, float]:
    """Return micro and macro F1; a label that is nowhere counts as 0."""
    hits = (decisions & targets).sum(axis=0).astype(float)
    sizes = (decisions.sum(axis=0) + targets.sum(axis=0)).astype(float)
    return float(2 * hits.sum() / max(1.0, sizes.sum())), float((2 * hits / np.maximum(sizes, 1.0)).mean())
