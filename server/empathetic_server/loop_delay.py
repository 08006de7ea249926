"""Measures how late the event loop is: everything that answers people waits behind what holds it up."""

from __future__ import annotations

import asyncio

from .metrics import Metrics

_EVERY_SECONDS = 0.05


async def watch_loop(metrics: Metrics) -> None:
    """Sleep again and again, and observe how much later than asked the loop wakes this task up."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        metrics.loop_delay_seconds.observe(max(0.0, loop.time() - due))
