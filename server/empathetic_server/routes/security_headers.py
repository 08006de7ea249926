"""The headers that tell a browser what it may do with an answer. Plain ASGI, as in `context.py`.

Pages get a Content-Security-Policy that names their own inline scripts by hash, so that nothing that finds its way into a page is run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio compiles the handlers of its components in the browser, with `new Function`; nothing else here does.
_EVALUATING = "/ui"
_PRIVATE = "/v1/"
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_NOTHING_MAY_LOAD = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class SecurityHeaders:
    """Middleware: adds the headers to every HTTP answer.

    Args:
        app: what answers.
        frame_origins: origins whose pages may show ours in a frame.
    """

    def __init__(self, app: ASGIApp, frame_origins: Sequence[str] = ()) -> None:
        self._app = app
        self._ancestors = " ".join(("'self'", *frame_origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an event on; an HTML answer is held back until it is whole, because its scripts are named in its headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: Message | None = None
        page = bytearray()

        async def send_with_headers(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                given = dict(message.get("headers", ()))
                message["headers"] = [*message.get("headers", ()), *_ALWAYS]
                if scope["path"].startswith(_PRIVATE) and b"cache-control" not in given:
                    message["headers"].append((b"cache-control", b"no-store"))
                if given.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in given:
                    held = message
                    return
                if b"content-security-policy" not in given:
                    message["headers"].append(_NOTHING_MAY_LOAD)
            elif held is not None:
                page.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                headers = MutableHeaders(raw=held["headers"])
                headers["content-security-policy"] = self._policy(bytes(page), may_evaluate=scope["path"].startswith(_EVALUATING))
                await send(held)
                held, message = None, {"type": "http.response.body", "body": bytes(page)}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _policy(self, page: bytes, *, may_evaluate: bool) -> str:
        hashes = {base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page)}
        scripts = ["'self'", *sorted(f"'sha256-{digest}'" for digest in hashes), *(["'unsafe-eval'"] if may_evaluate else [])]
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(scripts)}",
                "style-src 'self' 'unsafe-inline'",  # components set styles of elements; that runs nothing
                "img-src 'self' data: blob:",
                "font-src 'self' data:",
                "connect-src 'self'",
                "manifest-src 'self'",
                "base-uri 'self'",
                "form-action 'self'",
                f"frame-ancestors {self._ancestors}",
            )
        )
