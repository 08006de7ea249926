"""Invented dialogues and books in the formats of the real files, for the responder's tests. Nobody ever said any of it."""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

THINGS = ("the kettle", "my kite", "the blue door", "our goat", "the ferry", "my trumpet", "the lighthouse", "a cactus")
EVENTS = ("broke", "sang all night", "went missing", "won a ribbon", "turned green", "arrived late", "fell over")
REPLIES = (
    "I'm sorry about {0}. What did you do on day {1}?",
    "That sounds wonderful! For {0} it is day {1}.",
    "You could ask {0} again on day {1}.",
)
COPIED = "Nobody in this whole town has ever asked me about the seven wooden ducks."


def write_dialogues(data: Path, *, conversations: int = 60, seed: int = 0) -> Path:
    """Write every file that the responder reads, below `data`."""
    draw = random.Random(seed)  # noqa: S311  # test data, not a secret
    (data / "dialogue").mkdir(parents=True)
    (data / "books").mkdir()
    files = {
        "empathetic_dialogues_train": [_empathetic(draw, number) for number in range(conversations)],
        "empathetic_dialogues_test": [_empathetic(draw, 10_000 + number, opening=COPIED) for number in range(6)],
        "esconv_valid": [_esconv(draw) for _ in range(6)],
        "esconv_test": [_esconv(draw, opening=COPIED) for _ in range(3)],
        "esconv_supporter_strategies": [
            {"split": "train", "strategy": "Question,Others", "text": f"Could you tell me more about {THINGS[0]}?"},
            {"split": "train", "strategy": "Question", "text": COPIED.upper()},  # as in the real files: a test turn under another split
            {"split": "test", "strategy": "Question", "text": "This turn of the test split must not be read by any model."},
        ],
        "counselchat": [
            {"questionTitle": "Ducks?", "questionText": _said(draw), "answerText": f"{_reply(draw)} {_reply(draw)}", "split": split}
            for split in ("train", "val", "test")
        ],
        "self_dialogue": [{"topic": "goats", "turns": [_said(draw) for _ in range(4)]} for _ in range(6)],
        "dailydialog_plusplus": [{"context": [_said(draw)], "responses": [_reply(draw) for _ in range(5)]} for _ in range(4)],
        "schema_guided": [{"services": ["Ferries_1"], "turns": [_said(draw) for _ in range(4)]} for _ in range(8)],
    }
    for name, rows in files.items():
        write_lines(data, name, rows)
    paragraphs = "\n\n".join(f"_Once_ upon a time {_said(draw)}" for _ in range(40))
    with lzma.open(data / "books" / "classic_books.txt.xz", "wt", encoding="utf-8") as file:
        file.write(f"# Title: Ducks\n\n{paragraphs}\n<|book|>\n# Title: Goats\n\n{paragraphs}")
    return data


def write_lines(data: Path, name: str, rows: Iterable[Any]) -> None:
    """Write one file of JSON lines; a string is written as it is."""
    with lzma.open(data / "dialogue" / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def _said(draw: random.Random) -> str:
    return f"i heard that {draw.choice(THINGS)} {draw.choice(EVENTS)} on day {draw.randrange(10**6)}"


def _reply(draw: random.Random) -> str:
    return draw.choice(REPLIES).format(draw.choice(THINGS), draw.randrange(10**6))


def _empathetic(draw: random.Random, number: int, opening: str | None = None) -> dict[str, Any]:
    turns = [
        {"role": "speaker", "text": opening or _said(draw)},
        {"role": "listener", "text": _reply(draw)},
        {"role": "speaker", "text": _said(draw)},
        {"role": "listener", "text": _reply(draw)},
    ]
    return {"id": f"hit:{number // 2}_conv:{number}", "emotion": "proud", "situation": _said(draw), "turns": turns}


def _esconv(draw: random.Random, opening: str | None = None) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"speaker": "sys", "text": "Hello , what ' s new ?", "strategy": "Greeting"}]
    for index in range(3):
        turns.append({"speaker": "usr", "text": (opening if opening and not index else _said(draw))})
        turns.append({"speaker": "sys", "text": _reply(draw), "strategy": "Affirmation and Reassurance"})
        turns.append({"speaker": "sys", "text": "Go on .", "strategy": "Question"})
    return {"situation": _said(draw), "dialog": turns}
