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
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


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
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(_ALWAYS)
                if scope["path"].startswith(_PRIVATE):
                    headers.setdefault("cache-control", "no-store")
                if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                    held = message
                    return
                headers.setdefault("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
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
