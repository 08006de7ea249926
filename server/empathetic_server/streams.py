"""One idiom of asyncio: read a stream until something else happens. Knows nothing of what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until(stop: Coroutine[Any, Any, object], stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield what the stream yields until it ends or `stop` returns; then close it, which aborts the work behind it."""
    stopping = asyncio.ensure_future(stop)
    step: asyncio.Task[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(_next(stream))
            await asyncio.wait((step, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            try:
                piece = step.result()
            except StopAsyncIteration:
                return
            yield piece
    finally:
        stopping.cancel()
        if step is not None:
            step.cancel()
            await asyncio.gather(step, stopping, return_exceptions=True)
        await stream.aclose()


async def _next(stream: AsyncGenerator[T, None]) -> T:
    return await anext(stream)
