"""Deletes the conversations whose time is over. Knows no running turn: nobody has touched them."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone

from .chat import ChatService
from .errors import EmpatheticError

logger = logging.getLogger(__name__)

_PURGE_SECONDS = 3600.0
_RETRY_SECONDS = 30.0
# A temporary conversation is over when nobody has touched it for this long; it holds memory.
_TEMPORARY_HOURS = 2


async def purge_forever(chat: ChatService, retention_days: int) -> None:
    """Delete what nobody touched for so many days, now and every hour."""
    while True:
        try:
            await chat.purge(_days_ago(retention_days), _days_ago(_TEMPORARY_HOURS / 24))
            await asyncio.sleep(_PURGE_SECONDS)
        except EmpatheticError as exc:
            logger.warning("old conversations could not be deleted now: %s", exc.message)
            await asyncio.sleep(_RETRY_SECONDS)


def _days_ago(days: float) -> str:
    then = datetime.now(timezone.utc) - timedelta(days=days)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
