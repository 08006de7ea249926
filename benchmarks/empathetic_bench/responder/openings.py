"""First messages of conversations that the model was not trained on. Knows no server."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Openings:
    """First messages in an order drawn by a seed, and how a report names them."""

    name: str
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Fingerprint, so that two reports can be told to be on the same messages."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


def read_openings(data: Path, *, held_out_percent: int, is_test: bool, seed: int = 1) -> Openings:
    """Read the openings that training held out, or the test split's.

    Args:
        data: folder with dialogue/.
        held_out_percent: as the model was trained with; the choice is by HIT, as in training.
        is_test: take the test split: for a final report, never for a choice.
        seed: of the order.

    Raises:
        OSError: the file is missing or no xz file.
        ValueError, KeyError, IndexError: it has another format.
    """
    path = data / "dialogue" / f"empathetic_dialogues_{'test' if is_test else 'train'}.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    kept = [row for row in rows if is_test or zlib.crc32(row["id"].partition("_")[0].encode()) % 100 < held_out_percent]
    texts = sorted({" ".join(row["turns"][0]["text"].replace("_comma_", ",").split()) for row in kept} - {""})
    random.Random(seed).shuffle(texts)  # noqa: S311  # no secret
    return Openings("EmpatheticDialogues test" if is_test else "held-out EmpatheticDialogues", tuple(texts))
