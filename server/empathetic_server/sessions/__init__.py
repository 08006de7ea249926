"""Where conversations are kept: one protocol, one module for each technology."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from .memory_sessions import MemorySessions
from .protocols import SessionStore
from .sqlite_sessions import SqliteSessions

if TYPE_CHECKING:
    from ..redis_connection import RedisConnection

__all__ = ["MemorySessions", "SessionStore", "SqliteSessions", "session_store", "shared_redis"]

# The tests' and demonstrations' store: a limit that nobody meets by accident.
_MEMORY_SESSIONS = 100_000


def session_store(url: str, *, retention_days: int = 30) -> SessionStore:
    """Return the store that a URL names, not yet opened.

    Args:
        url: what EMPATHETIC_SESSIONS says.
        retention_days: for a store in which sessions expire by themselves; `purge` deletes from the others.

    Raises:
        StoreError: the URL names no store.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return MemorySessions(max_sessions=_MEMORY_SESSIONS)
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteSessions(Path(rest[1:]))
    if scheme in ("redis", "rediss", "unix"):
        from ..redis_connection import RedisConnection  # noqa: PLC0415  # only who uses Redis waits for its import
        from .redis_sessions import RedisSessions  # noqa: PLC0415  # as above

        return RedisSessions(RedisConnection(url), retention_days=retention_days)
    # The URL is not repeated: others have passwords in them.
    raise StoreError(
        "EMPATHETIC_SESSIONS must be sqlite:///relative/path.db, sqlite:////absolute/path.db, redis://HOST:PORT, rediss://, unix:// or memory://"
    )


def shared_redis(store: SessionStore) -> RedisConnection | None:
    """Return the Redis through which several processes share a store's sessions; None where one process has them alone."""
    if store.name != "redis":
        return None
    from .redis_sessions import RedisSessions  # noqa: PLC0415  # as above

    return store.connection if isinstance(store, RedisSessions) else None
