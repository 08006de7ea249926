"""Writes the held-out replies beside the checkpoint, for those who measure an exported model. They are data: never commit them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .chat import as_messages
from .examples import Example
from .wording import words

FILE = "held_out.jsonl"


def write_held_out(path: Path, examples: Iterable[Example]) -> None:
    """Write a line for each reply: the messages of its prompt, the note among them, the reply, and its words as published."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for example in examples:
            row = {"messages": as_messages(example.context, example.note), "reply": example.reply, "words": len(words(example.reply))}
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
    partial.replace(path)
