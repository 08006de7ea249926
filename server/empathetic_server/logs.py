"""How the server logs: one line for each event, as text or as JSON, with the id of the request that it belongs to.

Who logs passes numbers, names of parts and codes, never what a person wrote and never a session's id, which opens the session.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, Literal

# Of the request or connection that the running task serves; engines pass it on. Empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# At lower levels these libraries log what people write.
_TALKATIVE = ("httpx2", "httpcore2", "websockets", "uvicorn")


def configure_logging(level: str, log_format: Literal["text", "json"]) -> None:
    """Log to standard error from a level up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Of no use to the formats below; not to look for it is what Python's logging HOWTO has under "Optimization".
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def fields(**values: str | float) -> dict[str, Mapping[str, str | float]]:
    """Return the `extra` of a log call that adds named values to the event."""
    return {"fields": values}


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, then the event's fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in _fields(record).items())])


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line; `time` is UTC, ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    named = dict(getattr(record, "fields", {}))
    serving = request_id.get()
    return {"request_id": serving, **named} if serving else named
