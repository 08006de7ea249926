"""Conversations in an SQLite file: the default, for one server process.

One thread owns the connection; every call is one job there, and one transaction. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BackendUnavailable, NotFound, StoreError
from ..safety import Level
from .protocols import Conversation, Feedback, Message, Session, now

T = TypeVar("T")

# Entry n brings a file from schema version n to n + 1. Never changed once released: a new one is appended.
MIGRATIONS = (
    """
    CREATE TABLE session (
        session_id TEXT PRIMARY KEY, greeting TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        user_name TEXT, disclosed_at TEXT NOT NULL, last_seq INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX session_updated ON session (updated_at);
    CREATE TABLE message (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
        message_id TEXT NOT NULL, role TEXT NOT NULL CHECK (role IN ('user', 'assistant')), text TEXT NOT NULL,
        created_at TEXT NOT NULL, emotion TEXT, safety TEXT, client_id TEXT, finish_reason TEXT, strategy TEXT,
        UNIQUE (session_id, message_id), UNIQUE (session_id, client_id)
    );
    CREATE TABLE feedback (
        session_id TEXT NOT NULL, message_id TEXT NOT NULL, rating TEXT NOT NULL, comment TEXT, created_at TEXT NOT NULL,
        PRIMARY KEY (session_id, message_id),
        FOREIGN KEY (session_id, message_id) REFERENCES message (session_id, message_id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    """,
)
_MESSAGE = "message_id, role, text, created_at, emotion, safety, client_id, finish_reason, strategy"
_SESSION = "session_id, greeting, created_at, updated_at, user_name, disclosed_at, last_seq"
# Another process (a backup, a person with a shell) may hold the file for a moment.
_BUSY_S = 5.0


class SqliteSessions:
    """Keeps conversations in one file, readable by its owner alone.

    Args:
        path: the file; it and its folders are created when they are missing.
    """

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def open(self) -> None:
        """Open the file and bring its schema up to date; raises StoreError."""
        await self._in_thread(self._open)

    async def create(self, session: Session) -> None:
        """Store a new session."""
        row = (
            *(session.session_id, session.greeting, session.created_at, session.updated_at),
            *(session.user_name, session.disclosed_at, session.last_seq),
        )
        await self._run(lambda db: db.execute(f"INSERT INTO session ({_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?)", row))  # noqa: S608  # a constant

    async def load(self, session_id: str) -> Conversation:
        """Return a session with everything in it."""

        def load(db: sqlite3.Connection) -> Conversation:
            session = db.execute(f"SELECT {_SESSION} FROM session WHERE session_id = ?", (session_id,)).fetchone()  # noqa: S608  # a constant
            if session is None:
                raise NotFound("no such session")
            messages = db.execute(f"SELECT {_MESSAGE} FROM message WHERE session_id = ? ORDER BY position", (session_id,))  # noqa: S608  # a constant
            feedback = db.execute(
                "SELECT message_id, rating, comment, created_at FROM feedback WHERE session_id = ? ORDER BY created_at", (session_id,)
            )
            return Conversation(Session(*session), tuple(map(_message, messages)), tuple(Feedback(*row) for row in feedback))

        return await self._run(load)

    async def add_user_message(self, session_id: str, message: Message, *, last_seq: int) -> Message:
        """Append a user's message, or return the one with the same `client_id`."""

        def add(db: sqlite3.Connection) -> Message:
            if message.client_id is not None:
                query = f"SELECT {_MESSAGE} FROM message WHERE session_id = ? AND client_id = ?"  # noqa: S608  # a constant
                if earlier := db.execute(query, (session_id, message.client_id)).fetchone():
                    return _message(earlier)
            _touch(db, session_id, last_seq=last_seq)
            _insert(db, session_id, message)
            return message

        return await self._run(add)

    async def edit_user_message(self, session_id: str, message_id: str, text: str, *, last_seq: int) -> Message:
        """Change a user's message and drop what followed."""

        def edit(db: sqlite3.Connection) -> Message:
            _touch(db, session_id, last_seq=last_seq)
            position = _position(db, session_id, message_id)
            db.execute("DELETE FROM message WHERE session_id = ? AND position > ?", (session_id, position))
            db.execute("UPDATE message SET text = ?, emotion = NULL, safety = NULL WHERE position = ?", (text, position))
            return _message(db.execute(f"SELECT {_MESSAGE} FROM message WHERE position = ?", (position,)).fetchone())  # noqa: S608  # a constant

        return await self._run(edit, erases=True)

    async def finish_turn(
        self,
        session_id: str,
        message_id: str,
        reply: Message,
        *,
        emotion: Mapping[str, Any] | None,
        safety: Level | None,
        disclosed_at: str | None,
        last_seq: int,
    ) -> None:
        """Store the reply to a user's message in place of what followed it."""

        def finish(db: sqlite3.Connection) -> None:
            _touch(db, session_id, last_seq=last_seq)
            position = _position(db, session_id, message_id)
            db.execute("DELETE FROM message WHERE session_id = ? AND position > ?", (session_id, position))
            db.execute("UPDATE message SET emotion = ?, safety = ? WHERE position = ?", (_encode(emotion), safety, position))
            _insert(db, session_id, reply)
            if disclosed_at is not None:
                db.execute("UPDATE session SET disclosed_at = ? WHERE session_id = ?", (disclosed_at, session_id))

        await self._run(finish)

    async def set_user_name(self, session_id: str, name: str | None) -> None:
        """Set or erase the name."""

        def change(db: sqlite3.Connection) -> None:
            _touch(db, session_id)
            db.execute("UPDATE session SET user_name = ? WHERE session_id = ?", (name, session_id))

        await self._run(change)

    async def set_last_seq(self, session_id: str, last_seq: int) -> None:
        """Raise the frame number."""
        await self._run(lambda db: _touch(db, session_id, last_seq=last_seq))

    async def add_feedback(self, session_id: str, feedback: Feedback) -> None:
        """Store feedback on a message."""

        def add(db: sqlite3.Connection) -> None:
            _touch(db, session_id)
            known = db.execute("SELECT 1 FROM message WHERE session_id = ? AND message_id = ?", (session_id, feedback.message_id))
            if known.fetchone() is None:
                raise NotFound("no such message")
            row = (session_id, feedback.message_id, feedback.rating, feedback.comment, feedback.created_at)
            db.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?)", row)

        await self._run(add)

    async def delete(self, session_id: str) -> None:
        """Delete a session, its bytes included."""

        def delete(db: sqlite3.Connection) -> None:
            if db.execute("DELETE FROM session WHERE session_id = ?", (session_id,)).rowcount == 0:
                raise NotFound("no such session")

        await self._run(delete, erases=True)

    async def purge(self, before: str) -> int:
        """Delete the sessions that nobody touched since a time, their bytes included."""
        return await self._run(lambda db: db.execute("DELETE FROM session WHERE updated_at < ?", (before,)).rowcount, erases=True)

    async def ready(self) -> bool:
        """Whether the file can be read now."""
        try:
            await self._run(lambda db: db.execute("SELECT 1 FROM session LIMIT 1"))
        except BackendUnavailable:
            return False
        return True

    async def aclose(self) -> None:
        """Finish what runs and close the file."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, job: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> T:
        return await self._in_thread(partial(self._transact, job, erases=erases))

    async def _in_thread(self, job: Callable[[], T]) -> T:
        if self._closed:
            raise BackendUnavailable("the session store is closed", retry_after_s=1)
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _transact(self, job: Callable[[sqlite3.Connection], T], *, erases: bool) -> T:
        """Run a job in a transaction.

        Deleted rows are overwritten (`secure_delete`) in pages of the write-ahead log; until these are copied into the file,
        old bytes stand in both. So what erases also empties the log.
        """
        if self._connection is None:
            raise BackendUnavailable("the session store is not open", retry_after_s=1)
        with _translated():
            with _transaction(self._connection) as db:
                outcome = job(db)
            if erases:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return outcome

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Created by hand, because SQLite would make it readable for everybody; the log files take over its mode.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                connection.close()
                raise StoreError(f"{self._path}: written by a newer version of this server (schema {version}, known {len(MIGRATIONS)})")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an acknowledged message survives a power cut, too
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            for number in range(version, len(MIGRATIONS)):
                # One script, one transaction: `executescript` would commit one that is open.
                connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(f"{self._path}: cannot be used as a session store: {exc}") from exc
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors (disk full, locked, damaged) into ours, without path or text."""
    try:
        yield
    except sqlite3.Error as exc:
        raise BackendUnavailable(f"the session store failed: {type(exc).__name__}", retry_after_s=1) from exc


def _touch(db: sqlite3.Connection, session_id: str, *, last_seq: int = 0) -> None:
    """Set a session's time, and raise its frame number."""
    changed = db.execute(
        "UPDATE session SET updated_at = ?, last_seq = max(last_seq, ?) WHERE session_id = ?", (now(), last_seq, session_id)
    )
    if changed.rowcount == 0:
        raise NotFound("no such session")


def _position(db: sqlite3.Connection, session_id: str, message_id: str) -> int:
    """Return where a user's message is."""
    query = "SELECT position FROM message WHERE session_id = ? AND message_id = ? AND role = 'user'"
    row = db.execute(query, (session_id, message_id)).fetchone()
    if row is None:
        raise NotFound("no such message")
    return int(row[0])


def _insert(db: sqlite3.Connection, session_id: str, message: Message) -> None:
    row = (
        *(session_id, message.message_id, message.role, message.text, message.created_at, _encode(message.emotion)),
        *(message.safety, message.client_id, message.finish_reason, message.strategy),
    )
    db.execute(f"INSERT INTO message (session_id, {_MESSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608  # a constant


def _message(row: tuple[Any, ...]) -> Message:
    message_id, role, text, created_at, emotion, *rest = row
    return Message(message_id, role, text, created_at, None if emotion is None else json.loads(emotion), *rest)


def _encode(emotion: Mapping[str, Any] | None) -> str | None:
    return None if emotion is None else json.dumps(emotion)
