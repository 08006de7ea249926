"""Python's own time limit, which Python 3.10 has from a package. anyio's takes two to four times as long, for every request and frame."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["timeout"]
