"""How much one client may ask for: sliding windows per key and per address. Knows no HTTP.

Servers that share a Redis count together there. While it cannot be reached each counts alone: nobody is refused for an outage, and
nobody gets more than the quota from one server.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from .errors import BackendUnavailable, RateLimited, SettingsError

if TYPE_CHECKING:
    from .redis_connection import RedisConnection

logger = logging.getLogger(__name__)

# While the Redis of several servers is away, no request but one in this time waits for it.
_ALONE_SECONDS = 1.0
# Who has one address of an IPv6 network usually has all of its 64 lower bits.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the owner of the key that was shown, if any, and the network address."""

    address: str
    owner: str | None = None


class Quotas:
    """Counts requests and refuses those over a quota. What a quota refuses does not count in its window.

    Args:
        per_key: such as `600/minute`, for all requests with one key; None for no quota.
        per_address: the same for all requests from one address.
        connection: the Redis in which servers count together; None to count alone.

    Raises:
        SettingsError: a quota is not written so.
    """

    def __init__(self, per_key: str | None, per_address: str | None, connection: RedisConnection | None = None) -> None:
        self._per_key = _parsed("EMPATHETIC_QUOTA_PER_KEY", per_key)
        self._per_address = _parsed("EMPATHETIC_QUOTA_PER_ADDRESS", per_address)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared = None if connection is None else (connection, MovingWindowRateLimiter(connection.counters("empathetic:quota")))
        self._alone_until = 0.0

    async def charge(self, caller: Caller) -> RateLimited | None:
        """Count one request; returns the refusal when it is over a quota."""
        charged = []
        if self._per_address is not None:
            charged.append((self._per_address, "address", network_of(caller.address)))
        if self._per_key is not None and caller.owner is not None:
            charged.append((self._per_key, "key", caller.owner))
        for item, *identity in charged:
            wait_s = await self._hit(item, *identity)
            if wait_s is not None:
                return RateLimited(f"the quota of {item} is spent", retry_after_s=max(1, math.ceil(wait_s)))
        return None

    async def _hit(self, item: RateLimitItem, *identity: str) -> float | None:
        """Count one request; returns the seconds until there is room when it is over the quota."""
        if self._shared is not None and time.monotonic() >= self._alone_until:
            connection, windows = self._shared
            try:
                with connection.translated():
                    return await _hit(windows, item, *identity)
            except BackendUnavailable as exc:
                self._alone_until = time.monotonic() + _ALONE_SECONDS
                logger.warning("requests are counted by this server alone: %s", exc.message)
        return await _hit(self._own, item, *identity)


async def _hit(windows: MovingWindowRateLimiter, item: RateLimitItem, *identity: str) -> float | None:
    if await windows.hit(item, *identity):
        return None
    return (await windows.get_window_stats(item, *identity)).reset_time - time.time()


def network_of(address: str) -> str:
    """Return the address that a quota counts by; one that is none stands for itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed.ipv4_mapped if parsed.version == 6 else parsed)


def _parsed(name: str, quota: str | None) -> RateLimitItem | None:
    if quota is None:
        return None
    try:
        return parse(quota)
    except ValueError as exc:
        raise SettingsError(f"{name} = {quota!r}: must be like 600/minute or 20/second") from exc
