"""How a session's frames come to all who listen to it: one protocol, within one process or through Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory_relay import MemoryRelay
from .protocols import Relay

if TYPE_CHECKING:
    from ..redis_connection import RedisConnection

__all__ = ["MemoryRelay", "Relay", "relay_through"]


def relay_through(connection: RedisConnection | None) -> Relay:
    """Return the relay of the processes that share a Redis, or of one process alone."""
    if connection is None:
        return MemoryRelay()
    from .redis_relay import RedisRelay  # noqa: PLC0415  # only who uses Redis waits for its import

    return RedisRelay(connection)
