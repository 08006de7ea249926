"""Reads the dialogue files and the books, each in its own format. Knows no model, no tokenizer and no spelling.

No line of a test file becomes training data, and neither does the same text in another file: the supporters' turns of ESConv were
published under other splits than its dialogues, so that hundreds of them stand in the test dialogues.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .conversations import Conversation, Turn, alternating, fingerprint

BOOK_MARK = "<|book|>"
ED, ED_TEST = "empathetic_dialogues_train", "empathetic_dialogues_test"
ESCONV, ESCONV_TEST, SUPPORTERS = "esconv_valid", "esconv_test", "esconv_supporter_strategies"
COUNSEL, SELF, DAILY, TASKS = "counselchat", "self_dialogue", "dailydialog_plusplus", "schema_guided"
# Shorter texts ("oh no that's terrible") are the same by chance.
_SHORTEST_COPY = 30
_RESPONSES_USED = 2
_MARKDOWN = re.compile(r"[_*]+|^-{3,}$|^#.*$", re.MULTILINE)

_ROLES = {"speaker": "user", "listener": "reply", "usr": "user", "sys": "reply"}


@dataclass(frozen=True, slots=True)
class Sources:
    """All texts of a run: to train on, to be held out, and a fingerprint of each file."""

    conversations: tuple[Conversation, ...]
    held_out: tuple[Conversation, ...]
    test: tuple[Conversation, ...]
    books: tuple[str, ...]
    sha256: dict[str, str]
    dropped: int  # conversations that have a text of a test file in them


def read(data: Path, *, held_out_percent: int, book_characters: int, task_dialogues: int, with_test: bool, seed: int) -> Sources:
    """Read every source below `data`.

    Args:
        data: the directory of `dialogue/` and `books/`.
        held_out_percent: percent of EmpatheticDialogues to hold out; both conversations of a HIT are on the same side.
        book_characters: characters of books to return.
        task_dialogues: task dialogues to return.
        with_test: return EmpatheticDialogues' test split, too; without it, it is only read for what must not be trained on.
        seed: of what is drawn from books and task dialogues.

    Raises:
        DataError: a file is missing or malformed; the message names it and the line.
    """
    folder, sha256 = data / "dialogue", {}
    found: dict[str, list[tuple[str, Conversation]]] = {}
    for name, parse in _PARSERS.items():
        path = folder / f"{name}.jsonl.xz"
        content = _content(path)
        sha256[name] = hashlib.sha256(content).hexdigest()
        found[name] = list(_parse(path, content, name, parse))
    tests = [conversation for name in (ED_TEST, ESCONV_TEST) for _, conversation in found.pop(name)]
    forbidden = {mark for conversation in tests for turn in conversation.turns if len(mark := fingerprint(turn.text)) > _SHORTEST_COPY}
    tasks = found[TASKS]
    found[TASKS] = random.Random(seed).sample(tasks, min(task_dialogues, len(tasks)))  # noqa: S311  # no secret
    held_out = tuple(conversation for key, conversation in found[ED] if _is_held_out(key, held_out_percent))
    found[ED] = [(key, conversation) for key, conversation in found[ED] if not _is_held_out(key, held_out_percent)]
    every = [conversation for rows in found.values() for _, conversation in rows]
    kept = tuple(conversation for conversation in every if not _has_any(conversation, forbidden))
    books = data / "books" / "classic_books.txt.xz"
    content = _content(books) if book_characters else b""
    sha256["books"] = hashlib.sha256(content).hexdigest()
    return Sources(
        kept,
        held_out,
        tuple(conversation for conversation in tests if conversation.source == ED_TEST) if with_test else (),
        tuple(_passages(books, content, book_characters, seed)) if book_characters else (),
        sha256,
        len(every) - len(kept),
    )


def _content(path: Path) -> bytes:
    try:
        with lzma.open(path) as file:
            return file.read()
    except (OSError, EOFError, lzma.LZMAError) as exc:
        raise DataError(f"{path}: {getattr(exc, 'strerror', None) or exc}") from exc


def _parse(path: Path, content: bytes, name: str, parse: Callable[[Any], Iterator[tuple[Turn, ...]]]) -> Iterator[tuple[str, Conversation]]:
    """Yield each conversation with its id, or with its line number where it has none."""
    lines = content.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            key = str(row.get("id", number))
            for turns in parse(row):
                yield key, Conversation(name, turns)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            reason = f"lacks {exc}" if isinstance(exc, KeyError) else str(exc)
            raise DataError(f"{path}:{number}: not a line of this file's format: {reason}") from exc


def _empathetic_dialogue(row: Any) -> Iterator[tuple[Turn, ...]]:
    yield tuple(_turn(turn["role"], turn["text"]) for turn in row["turns"])


def _esconv_dialogue(row: Any) -> Iterator[tuple[Turn, ...]]:
    yield tuple(_turn(turn["speaker"], turn["text"], turn.get("strategy")) for turn in row["dialog"])


def _supporter_turn(row: Any) -> Iterator[tuple[Turn, ...]]:
    strategies = tuple(row["strategy"].split(","))
    if row["split"] != "test":
        yield (Turn("reply", _text(row["text"]), strategies),)


def _counsel(row: Any) -> Iterator[tuple[Turn, ...]]:
    question = f"{_text(row['questionTitle'])} {_text(row['questionText'] or '')}"
    if row["split"] != "test" and row["answerText"]:
        yield Turn("user", question), Turn("reply", _text(row["answerText"]))


def _self_dialogue(row: Any) -> Iterator[tuple[Turn, ...]]:
    yield alternating([_text(text) for text in row["turns"]], "reply")


def _daily_dialogue(row: Any) -> Iterator[tuple[Turn, ...]]:
    for response in row["responses"][:_RESPONSES_USED]:  # all five would repeat the context more than a run has time for
        yield alternating([_text(text) for text in (*row["context"], response)], "reply")


def _turn(role: str, text: Any, strategy: str | None = None) -> Turn:
    if role not in _ROLES:
        raise ValueError(f"unknown speaker {role!r}")
    return Turn("user" if _ROLES[role] == "user" else "reply", _text(text), (strategy,) if strategy else ())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


_PARSERS: dict[str, Callable[[Any], Iterator[tuple[Turn, ...]]]] = {
    ED: _empathetic_dialogue,
    ED_TEST: _empathetic_dialogue,
    ESCONV: _esconv_dialogue,
    ESCONV_TEST: _esconv_dialogue,
    SUPPORTERS: _supporter_turn,
    COUNSEL: _counsel,
    SELF: _self_dialogue,
    DAILY: _daily_dialogue,
    TASKS: _self_dialogue,
}


def _is_held_out(key: str, percent: int) -> bool:
    """Decide by the HIT (`hit:1_conv:2`): its two conversations are of the same two people, often about the same things."""
    return zlib.crc32(key.partition("_")[0].encode()) % 100 < percent


def _has_any(conversation: Conversation, forbidden: set[str]) -> bool:
    return any(fingerprint(turn.text) in forbidden for turn in conversation.turns)


def _passages(path: Path, content: bytes, characters: int, seed: int) -> Iterator[str]:
    """Yield one passage of each book, all about as long, from a place drawn at random; a short book comes whole."""
    try:
        books = [book for book in content.decode().split(BOOK_MARK) if book.strip()]
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: not UTF-8") from exc
    if not books:
        raise DataError(f"{path}: holds no text")
    draw = random.Random(seed)  # noqa: S311  # no secret
    share = max(1, characters // len(books))
    for book in books:
        start = draw.randrange(max(1, len(book) - share))
        passage = book[start : start + share]
        paragraphs = passage.split("\n\n")
        # The first and the last paragraph are cut somewhere, unless there is only one.
        yield _MARKDOWN.sub("", "\n\n".join(paragraphs[1:-1] if len(paragraphs) > 3 else paragraphs))
