"""What is particular to the SQLite store: files, schema, erasing, and sudden death."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from empathetic_server.errors import BackendUnavailable, StoreError
from empathetic_server.sessions import SqliteSessions, session_store
from empathetic_server.sessions.protocols import Feedback, Message, Session

pytestmark = pytest.mark.anyio
CANARY = "canary-7f3a9c"


async def opened(path: Path) -> SqliteSessions:
    store = SqliteSessions(path)
    await store.open()
    return store


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_conversations_survive_reopening(tmp_path: Path) -> None:
    first = await opened(tmp_path / "s.db")
    await first.create(Session("s", "Hi."))
    await first.add_user_message("s", Message("u", "user", "hello"), last_seq=1)
    await first.aclose()
    second = await opened(tmp_path / "s.db")
    assert (await second.load("s")).messages[0].text == "hello"
    await second.aclose()


async def test_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = await opened(tmp_path / "s.db")
    await store.create(Session("s", "Hi."))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await store.aclose()
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)


async def test_deleted_text_is_in_no_file(tmp_path: Path) -> None:
    store = await opened(tmp_path / "s.db")
    for session_id in ("deleted", "purged", "edited", "kept"):
        await store.create(Session(session_id, "Hi."))
        await store.add_user_message(session_id, Message("u", "user", f"{CANARY} of {session_id} " * 50), last_seq=1)
        reply = Message("r", "assistant", f"{CANARY} of {session_id}")
        await store.finish_turn(session_id, "u", reply, emotion=None, safety=None, disclosed_at=None, last_seq=2)
        await store.add_feedback(session_id, Feedback("r", "up", f"{CANARY} of {session_id}"))
    assert bytes_of(tmp_path).count(CANARY.encode()) >= 4
    await store.edit_user_message("edited", "u", "harmless", last_seq=3)
    assert f"{CANARY} of edited".encode() not in bytes_of(tmp_path)
    await store.delete("deleted")
    assert f"{CANARY} of deleted".encode() not in bytes_of(tmp_path)
    await store.delete("kept")
    assert await store.purge("9999") == 2
    assert CANARY.encode() not in bytes_of(tmp_path)
    await store.aclose()


@pytest.mark.parametrize("acknowledged", [1, 2, 7, 40, 121])
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "s.db"
    command = [sys.executable, str(Path(__file__).with_name("session_writer.py")), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as writer:
        assert writer.stdout is not None
        seen = [writer.stdout.readline().strip() for _ in range(acknowledged)]
        writer.kill()
        seen += writer.stdout.read().split()
    store = await opened(path)
    kept = await store.load("s")
    await store.aclose()
    ids = [message.message_id for message in kept.messages]
    assert ids[: len(seen)] == seen
    assert len(ids) <= len(seen) + 1  # the one that was stored and not yet told
    assert ids == [f"{'ur'[i % 2]}{i // 2}" for i in range(len(ids))]
    # A turn is stored whole: the message has its emotion exactly when the reply is there.
    answered = [message.message_id for message in kept.messages if message.role == "user" and message.emotion is not None]
    assert len(answered) == sum(message.role == "assistant" for message in kept.messages)
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        await SqliteSessions(path).open()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"my diary, not a database" * 100)
    with pytest.raises(StoreError, match="session store"):
        await SqliteSessions(path).open()
    assert path.read_bytes() == b"my diary, not a database" * 100


async def test_a_damaged_file_makes_the_store_unavailable_and_says_no_text(tmp_path: Path) -> None:
    store = await opened(tmp_path / "s.db")
    await store.create(Session("s", "Hi."))
    with sqlite3.connect(tmp_path / "s.db") as other:
        other.execute("DROP TABLE feedback")
        other.execute("ALTER TABLE message RENAME TO gone")
    other.close()
    with pytest.raises(BackendUnavailable) as failure:
        await store.add_user_message("s", Message("u", "user", CANARY), last_seq=1)
    assert CANARY not in str(failure.value)
    assert str(tmp_path) not in str(failure.value)
    await store.aclose()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql://user:secret@host", "memory:", "memory://x", "/tmp/x.db"])  # noqa: S108  # a URL
def test_a_url_that_names_no_store_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///") as refused:
        session_store(url)
    assert "secret" not in str(refused.value)
