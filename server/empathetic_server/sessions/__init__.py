"""Where conversations are kept: one protocol, one module for each technology."""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError
from .memory_sessions import MemorySessions
from .protocols import SessionStore
from .sqlite_sessions import SqliteSessions

__all__ = ["MemorySessions", "SessionStore", "SqliteSessions", "session_store"]

# The tests' and demonstrations' store: a limit that nobody meets by accident.
_MEMORY_SESSIONS = 100_000


def session_store(url: str) -> SessionStore:
    """Return the store that a URL names, not yet opened.

    Raises:
        StoreError: the URL names no store.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return MemorySessions(max_sessions=_MEMORY_SESSIONS)
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteSessions(Path(rest[1:]))
    # The URL is not repeated: others have passwords in them.
    raise StoreError("the session store must be sqlite:///relative/path.db, sqlite:////absolute/path.db or memory://")
