"""How much one client may ask for: sliding windows per key and per address. Knows no HTTP."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from .errors import RateLimited, SettingsError

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

    Raises:
        SettingsError: a quota is not written so.
    """

    def __init__(self, per_key: str | None, per_address: str | None) -> None:
        self._per_key = _parsed("EMPATHETIC_QUOTA_PER_KEY", per_key)
        self._per_address = _parsed("EMPATHETIC_QUOTA_PER_ADDRESS", per_address)
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    async def charge(self, caller: Caller) -> RateLimited | None:
        """Count one request; returns the refusal when it is over a quota."""
        charged = []
        if self._per_address is not None:
            charged.append((self._per_address, "address", network_of(caller.address)))
        if self._per_key is not None and caller.owner is not None:
            charged.append((self._per_key, "key", caller.owner))
        for item, *identity in charged:
            if not await self._windows.hit(item, *identity):
                window = await self._windows.get_window_stats(item, *identity)
                wait_s = max(1, math.ceil(window.reset_time - time.time()))
                return RateLimited(f"the quota of {item} is spent", retry_after_s=wait_s)
        return None


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
