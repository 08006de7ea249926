from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import pytest
from empathetic_train.errors import DataError
from empathetic_train.responder import sources
from empathetic_train.responder.conversations import Conversation, Turn, alternating, fingerprint, merged
from empathetic_train.responder.sources import Sources

from tests import tiny_dialogues
from tests.train.responder.conftest import READING


def said(conversations: tuple[Conversation, ...]) -> set[str]:
    return {turn.text for conversation in conversations for turn in conversation.turns}


def test_every_source_is_read_and_the_test_files_are_not(found: Sources) -> None:
    assert {conversation.source for conversation in found.conversations} == {
        *("empathetic_dialogues_train", "esconv_valid", "esconv_supporter_strategies", "counselchat"),
        *("self_dialogue", "dailydialog_plusplus", "schema_guided"),
    }
    assert found.test == ()
    assert set(found.sha256) >= {"empathetic_dialogues_train", "esconv_test", "books"}


def test_the_test_split_is_returned_only_when_asked_for(dialogues: Path) -> None:
    test = sources.read(dialogues, **{**READING, "with_test": True}).test
    assert len(test) == 6
    assert {conversation.source for conversation in test} == {sources.ED_TEST}


def test_a_text_of_a_test_file_is_dropped_from_every_other_file(found: Sources) -> None:
    copied = fingerprint(tiny_dialogues.COPIED)
    assert copied not in {fingerprint(text) for text in said(found.conversations)}
    assert found.dropped == 1


def test_rows_of_a_test_split_within_a_file_are_not_read(found: Sources) -> None:
    assert not any("must not be read" in text for text in said(found.conversations))
    assert sum(conversation.source == sources.COUNSEL for conversation in found.conversations) == 2


def test_both_conversations_of_a_hit_are_on_the_same_side(dialogues: Path) -> None:
    found = sources.read(dialogues, **READING)
    everything = sources.read(dialogues, **{**READING, "held_out_percent": 50})
    trained = [conversation for conversation in found.conversations if conversation.source == sources.ED]
    assert len(trained) + len(found.held_out) == 60
    assert len(found.held_out) % 2 == 0
    assert 0 < len(found.held_out) < len(everything.held_out)
    assert set(found.held_out) <= set(everything.held_out)


def test_books_give_about_what_is_asked_for_from_each(found: Sources) -> None:
    assert len(found.books) == 2
    assert 100 < sum(map(len, found.books)) <= 1000
    assert not any("_" in passage or "#" in passage for passage in found.books)


def test_without_books_none_are_needed(tmp_path: Path) -> None:
    data = tiny_dialogues.write_dialogues(tmp_path / "data")
    (data / "books" / "classic_books.txt.xz").unlink()
    assert sources.read(data, **{**READING, "book_characters": 0}).books == ()
    with pytest.raises(DataError, match=r"classic_books\.txt\.xz: No such file"):
        sources.read(data, **READING)


@pytest.mark.parametrize(
    ("name", "row", "complaint"),
    [
        ("esconv_valid", "{", "not a line of this file's format"),
        ("esconv_valid", {"dialog": [{"text": "Hello.", "speaker": "crowd"}]}, "unknown speaker 'crowd'"),
        ("self_dialogue", {"turns": [7]}, "7 is not a text"),
        ("self_dialogue", {"topic": "goats"}, "lacks 'turns'"),
        ("self_dialogue", "[]", "not a line of this file's format"),
        ("counselchat", {"questionTitle": "Ducks?"}, "lacks 'questionText'"),
    ],
    ids=["not-json", "speaker", "number-for-text", "key", "list-for-object", "two-keys"],
)
def test_a_wrong_line_is_named_with_its_file(tmp_path: Path, name: str, row: Any, complaint: str) -> None:
    data = tiny_dialogues.write_dialogues(tmp_path / "data")
    tiny_dialogues.write_lines(data, name, [{"turns": [], "dialog": [], "id": 1}, row] if name != "counselchat" else [row])
    with pytest.raises(DataError) as caught:
        sources.read(data, **READING)
    assert f"{name}.jsonl.xz:{2 if name != 'counselchat' else 1}: " in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"no archive", lzma.compress(b"{}\n")[:-5]], ids=["missing", "no-archive", "cut-off"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    data = tiny_dialogues.write_dialogues(tmp_path / "data")
    path = data / "dialogue" / "self_dialogue.jsonl.xz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"self_dialogue\.jsonl\.xz: "):
        sources.read(data, **READING)


def test_turns_of_one_speaker_are_joined_with_their_strategies() -> None:
    turns = (Turn("user", "a"), Turn("reply", "b", ("Question",)), Turn("reply", "c", ("Others",)))
    assert merged(turns) == (Turn("user", "a"), Turn("reply", "b c", ("Question", "Others")))


def test_two_people_take_turns_up_to_the_last() -> None:
    assert [turn.role for turn in alternating(["a", "b", "c"], "reply")] == ["reply", "user", "reply"]
    assert [turn.role for turn in alternating(["a", "b"], "reply")] == ["user", "reply"]
