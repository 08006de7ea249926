"""Held-out replies to measure on: JSON lines that training writes beside a checkpoint, never committed. Knows no model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from ..errors import TextsError

FILE = "held_out.jsonl"


@dataclass(frozen=True, slots=True)
class Reply:
    """The tokens of a prompt with its reply, where the reply begins, and its words as published perplexities count them, end included."""

    ids: list[int]
    begins: int
    words: int

    @property
    def tokens(self) -> int:
        """Tokens of the reply, end included."""
        return len(self.ids) - self.begins


def read_replies(path: Path, tokenizer: PreTrainedTokenizerFast, window: int) -> list[Reply]:
    """Read `{"messages": [...], "reply": TEXT, "words": COUNT}` lines; what does not fit the window is left out.

    Raises:
        TextsError: the file is missing, a line is not of that form, or nothing fits.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise TextsError(f"{path}: {getattr(exc, 'strerror', None) or 'not UTF-8'}; `empathetic-train responder` writes it") from exc
    replies = []
    for number, line in enumerate(lines, start=1):
        try:
            replies.append(_encode(json.loads(line), tokenizer))
        except (ValueError, LookupError, TypeError) as exc:  # no messages at all: the template looks at the first
            raise TextsError(f"{path}:{number}: expected messages, reply and words ({type(exc).__name__})") from exc
    fitting = [reply for reply in replies if len(reply.ids) <= window]
    if not fitting:
        raise TextsError(f"{path}: no reply fits a window of {window} tokens")
    return fitting


def _encode(row: Any, tokenizer: PreTrainedTokenizerFast) -> Reply:
    prompt = tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True)
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, f"{row['reply']}{tokenizer.eos_token}"))
    return Reply([*before, *after], len(before), int(row["words"]) + 1)
