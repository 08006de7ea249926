"""Rounds of a path over all comments, the parity gate before and after them, and what the device can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .batches import Batch, Encode, Ids
from .conditions import Conditions, Missing
from .model import Classifier
from .paths import Path, builders, reference_path

# Largest difference of a probability from fp32. Seen on a CPU: 1.3e-3 for RoBERTa-base's shape in fp16, 4e-7 in fp32.
TOLERANCES = {torch.float16: 5e-3, torch.float32: 1e-4}
_REPEATS = 20

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of a path.

    Attributes:
        texts: comments that were scored.
        seconds: from the first text, or its tokens, to the last probability in the host's memory.
        token_wait_s: the part of it in which the device's feeder waited for tokens.
        batches: calls of the model.
        tokens: real tokens.
        computed: tokens that the device computed, padding included.
    """

    texts: int
    seconds: float
    token_wait_s: float
    batches: int
    tokens: int
    computed: int


@dataclass(slots=True)
class Measured:
    """A path's rounds. `difference` is the largest of all rounds: each round's answers are looked at."""

    path: Path
    difference: float
    build_s: float
    rounds: dict[str, list[Sample]] = field(default_factory=lambda: {"offline": [], "compute": []})

    def as_dict(self) -> dict[str, Any]:
        """Return texts a second, and the raw samples: offline (with tokenization), and with the tokens at hand."""
        rates = {
            kind: {"texts_per_s": float(np.median(found)), "lowest": min(found), "highest": max(found)}
            for kind, samples in self.rounds.items()
            if (found := [sample.texts / sample.seconds for sample in samples])
        }
        samples = {kind: [asdict(sample) for sample in found] for kind, found in self.rounds.items()}
        return {
            "name": self.path.name,
            "shape": self.path.shape,
            "largest_difference": self.difference,
            "build_s": self.build_s,
            "rates": rates,
            "rounds": samples,
        }


def score_all(path: Path, source: Callable[[], Iterable[list[Ids]]], count: int, labels: int) -> tuple[Sample, Probabilities]:
    """Score what the source gives; returns the round and the probabilities (texts, labels)."""
    batching, waited, number = path.batching(), 0.0, 0
    sent: list[tuple[Batch, torch.Tensor]] = []
    started = before = time.perf_counter()
    with torch.no_grad():
        for chunk in source():
            waited += time.perf_counter() - before
            for ids in chunk:
                sent += [(batch, path.score(batch)) for batch in batching.add(number, ids)]
                number += 1
            before = time.perf_counter()
        sent += [(batch, path.score(batch)) for batch in batching.flush()]
        # On the device all is one stream: this waits for everything.
        found = torch.cat([logits[: len(batch.order)] for batch, logits in sent]).float().sigmoid().cpu().numpy()
    probabilities = np.full((count, labels), np.nan, np.float32)  # what is never written fails the gate
    probabilities[np.concatenate([batch.order for batch, _ in sent])] = found
    seconds = time.perf_counter() - started
    tokens, computed = (sum(getattr(batch, name) for batch, _ in sent) for name in ("tokens", "computed"))
    return Sample(count, seconds, waited, len(sent), tokens, computed), probabilities


def measure(
    classifier: Classifier, conditions: Conditions, texts: list[str], encode: Encode, *, rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], Probabilities]:
    """Measure every path that this machine has, in turn; returns what a result says of the model, and its fp32 probabilities."""
    tokens = list(encode(texts))
    labels = classifier.reference.classifier.out_features
    lengths = np.array([len(ids) for chunk in tokens for ids in chunk])
    _, wanted = score_all(reference_path(classifier, conditions), lambda: tokens, len(texts), labels)
    reasons: dict[str, dict[str, str]] = {"missing": {}, "failed": {}}
    paths: list[Measured] = []
    for name, build in builders(classifier, conditions).items():
        try:
            paths.append(_gated(build, tokens, wanted, TOLERANCES[conditions.dtype]))
        except Missing as exc:
            reasons["missing"][name] = str(exc)
        except Exception as exc:  # a lease is short: what one library raises must not cost the other paths; the exit status tells
            reasons["failed"][name] = f"{type(exc).__name__}: {' '.join(str(exc).split())[:500]}"
        told = next((f"{kind}: {found[name]}" for kind, found in reasons.items() if name in found), "agrees")
        tell(f"{classifier.name}  {name}  {told}")
    tokenization = []
    for number in range(rounds):
        tokenization.append(_tokenize(encode, texts))
        for one in paths:
            for kind, source in (("offline", lambda: encode(texts)), ("compute", lambda: tokens)):
                sample, found = score_all(one.path, source, len(texts), labels)
                one.rounds[kind].append(sample)
                one.difference = float(np.maximum(one.difference, np.abs(found - wanted).max()))  # keeps a NaN
                tell(f"{classifier.name}  round {number + 1}/{rounds}  {one.path.name:<16} {kind:<8} {len(texts) / sample.seconds:10.0f}/s")
    for one in [one for one in paths if not one.difference <= TOLERANCES[conditions.dtype]]:
        reasons["failed"][one.path.name] = f"the probabilities differ by {one.difference:.1e} in a later round"
        paths.remove(one)
    content = {
        "name": classifier.name,
        "weights": classifier.weights,
        "max_length": classifier.max_length,
        "mean_tokens": float(lengths.mean()),
        "cut_texts": int((lengths == classifier.max_length).sum()),
        "tera_operations": operations(classifier.reference.config, lengths) / 1e12,
        "tolerance": TOLERANCES[conditions.dtype],
        "tokenization_s": tokenization,
        "paths": [one.as_dict() for one in paths],
        **reasons,
    }
    return content, wanted


def _gated(build: Callable[[], Path], tokens: list[list[Ids]], wanted: Probabilities, tolerance: float) -> Measured:
    """Build a path and have it score all texts once: that warms it up too, and captures its graphs.

    Raises:
        ArithmeticError: it answers something else.
    """
    started = time.perf_counter()
    path = build()
    _, found = score_all(path, lambda: tokens, *wanted.shape)
    difference = float(np.abs(found - wanted).max())
    if not difference <= tolerance:  # so that a NaN fails too
        raise ArithmeticError(f"the probabilities differ by {difference:.1e} from fp32, more than {tolerance}")
    return Measured(path, difference, time.perf_counter() - started)


def _tokenize(encode: Encode, texts: list[str]) -> float:
    started = time.perf_counter()
    for _ in encode(texts):
        pass
    return time.perf_counter() - started


def operations(config: Any, lengths: NDArray[Any]) -> float:
    """Return the fewest floating-point operations for texts of these lengths: matrix products and attention, no padding."""
    matrices = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    attention = 4 * config.hidden_size * float((lengths.astype(float) ** 2).sum())
    total: float = config.num_hidden_layers * (2 * matrices * float(lengths.sum()) + attention)
    return total


def ceilings(conditions: Conditions) -> dict[str, float]:
    """Measure what the device does at most, on random numbers: a matrix product and a copy."""
    device, is_cuda = conditions.device, conditions.device.type == "cuda"
    side, length = (8192, 2**29) if is_cuda else (256, 2**20)
    left, right = (torch.randn(side, side, device=device, dtype=conditions.dtype) for _ in range(2))
    source = torch.randn(length, device=device, dtype=conditions.dtype)
    target = torch.empty_like(source)
    product_s = _seconds(lambda: torch.mm(left, right), is_cuda=is_cuda)
    copy_s = _seconds(lambda: target.copy_(source), is_cuda=is_cuda)
    return {
        "matrix_tera_operations_per_s": 2 * side**3 / product_s / 1e12,
        "copy_gb_per_s": 2 * source.nbytes / copy_s / 1e9,
    }


def _seconds(call: Callable[[], object], *, is_cuda: bool) -> float:
    """Return the seconds of a call in a row of calls, the first ones left out."""

    def repeat() -> None:
        for _ in range(_REPEATS):
            call()
        if is_cuda:
            torch.cuda.synchronize()

    repeat()
    started = time.perf_counter()
    repeat()
    return (time.perf_counter() - started) / _REPEATS
