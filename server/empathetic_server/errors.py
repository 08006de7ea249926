"""Every failure that may reach a client, and the one body they share. Knows no HTTP framework.

EmpatheticError
├─ RequestError    malformed_request 400 · unauthenticated 401 · forbidden 403 · not_found 404 · method_not_allowed 405 ·
│                  session_busy 409 · too_large 413 · invalid_request 422 · rate_limited 429
├─ BackendError    overloaded 429 · backend_unavailable 503 · deadline_exceeded 504
└─ InternalError   internal 500

StartupError: fatal at start-up, never an HTTP answer
├─ SettingsError   a setting is wrong
├─ ArtifactError   a model directory is missing or wrong
└─ StoreError      the session store cannot be opened
"""

from __future__ import annotations

from typing import Any, ClassVar


class EmpatheticError(Exception):
    """Root of the tree. The message is shown to clients: no path, no stack, none of the user's text."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the JSON object of the wire contract."""
        return {"error": {"code": self.code, "message": self.message, "retryable": self.retryable, "request_id": request_id}}


class RequestError(EmpatheticError):
    """The request is at fault; sending it again will not help."""


class MalformedRequest(RequestError):
    """The body is not JSON, not UTF-8, or nested too deep."""

    status, code = 400, "malformed_request"


class Unauthenticated(RequestError):
    """API keys are set, and the request shows none of them."""

    status, code = 401, "unauthenticated"


class Forbidden(RequestError):
    """The page that asks is not one that may."""

    status, code = 403, "forbidden"


class NotFound(RequestError):
    """No such path, session or message."""

    status, code = 404, "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    status, code = 405, "method_not_allowed"


class SessionBusy(RequestError):
    """A turn is running in the session; the same request may succeed when it is over."""

    status, code, retryable = 409, "session_busy", True


class TooLarge(RequestError):
    """The body or the number of texts is over the limit."""

    status, code = 413, "too_large"


class InvalidRequest(RequestError):
    """A field is wrong; the message names it."""

    status, code = 422, "invalid_request"


class RateLimited(RequestError):
    """The client has spent its quota; `retry_after_s` says when there is room again."""

    status, code, retryable = 429, "rate_limited", True


class BackendError(EmpatheticError):
    """An engine cannot answer now; the same request may succeed later."""

    retryable = True


class Overloaded(BackendError):
    """The engine's queue is full; `retry_after_s` says when it should have drained."""

    status, code = 429, "overloaded"


class BackendUnavailable(BackendError):
    """The engine is down or going down."""

    status, code = 503, "backend_unavailable"


class DeadlineExceeded(BackendError):
    """The request's own deadline passed before the answer was there."""

    status, code = 504, "deadline_exceeded"


class InternalError(EmpatheticError):
    """A defect of ours; the details are in the log alone."""


class StartupError(Exception):
    """The server cannot start; the message says what to do."""


class SettingsError(StartupError):
    """A setting is wrong in a way that only its reader can see."""


class ArtifactError(StartupError):
    """The model directory cannot be served."""


class StoreError(StartupError):
    """The session store cannot be opened."""
