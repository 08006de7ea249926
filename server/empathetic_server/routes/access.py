"""Who may come in: the origins of pages, API keys, and quotas, before any route. Plain ASGI, as in `context.py`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..errors import EmpatheticError, Forbidden, NotFound, Unauthenticated
from ..keys import Keyring
from ..live import LiveSessions
from ..quotas import Caller, Quotas
from ..session_ids import belongs_to
from ..sessions.protocols import Message
from .context import error_response, new_request_id

# What operators, load balancers and anybody in need may read; everything under this prefix needs a key, where there are keys.
_GUARDED = "/v1/"
_SOCKET = "/v1/chat/ws"
_SESSION_PREFIX = "/v1/sessions/"


class Access:
    """The rules of who may come in.

    Args:
        keyring: the API keys; None lets everybody in.
        quotas: how much a caller may ask for.
        origins: other pages' origins that may use this server, such as `https://example.org`.
    """

    def __init__(self, keyring: Keyring | None, quotas: Quotas, origins: Sequence[str]) -> None:
        self.quotas = quotas
        self.origins = tuple(origins)
        self._keyring = keyring

    def caller(self, connection: HTTPConnection) -> Caller:
        """Return who asks; raises Unauthenticated where a key is needed and none of ours is shown."""
        address = connection.client.host if connection.client else ""
        if self._keyring is None:
            return Caller(address)
        header = connection.headers.get("authorization")
        if header is None and connection.scope["type"] == "websocket":
            return Caller(address)  # a client says hello with its key when it cannot set headers: browsers cannot
        scheme, _, key = (header or "").partition(" ")
        return Caller(address, self.owner(key.strip() if scheme.lower() == "bearer" else None))

    def owner(self, key: str | None) -> str | None:
        """Return the owner of a key, None where keys are not asked for; raises Unauthenticated."""
        if self._keyring is None:
            return None
        owner = self._keyring.owner(key) if key else None
        if owner is None:
            raise Unauthenticated("an API key is needed: Authorization: Bearer KEY" if not key else "the API key is not valid")
        return owner

    async def charge(self, caller: Caller) -> EmpatheticError | None:
        """Count one message of an open connection; returns why it is refused."""
        if self._keyring is not None and (caller.owner is None or not self._keyring.is_owner(caller.owner)):
            return Unauthenticated("the API key is not valid any more")
        return await self.quotas.charge(caller)


class OriginCheck:
    """Middleware: refuses what a page of a foreign origin sends. Only browsers send an origin, and a page cannot forge it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._allowed = frozenset(origin.lower() for origin in access.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let an event through, or refuse it."""
        if scope["type"] in ("http", "websocket") and any(name == b"origin" for name, _ in scope["headers"]):
            connection = HTTPConnection(scope)
            origin = connection.headers["origin"]
            if origin.lower() not in self._allowed and not _is_own(origin, connection):
                await _refuse(Forbidden("this page's origin may not use this server"), scope, receive, send)
                return
        await self._app(scope, receive, send)


class KeyCheck:
    """Middleware: asks for the key, keeps sessions to their owner, and counts the request.

    A chat turn over the quota goes on to its route, which answers a person in danger all the same.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let an event through, or refuse it."""
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        refusal: EmpatheticError | None = None
        try:
            caller = state["caller"] = self._access.caller(HTTPConnection(scope))
        except Unauthenticated as exc:
            await _refuse(exc, scope, receive, send)
            return
        if scope["type"] == "http":
            path = scope["path"]
            if path.startswith(_SESSION_PREFIX) and not belongs_to(path.removeprefix(_SESSION_PREFIX).split("/", 1)[0], caller.owner):
                refusal = NotFound("no such session")
            else:
                refusal = await self._access.quotas.charge(caller)
                if refusal is not None and _is_turn(scope["method"], path):
                    state["over_quota"], refusal = refusal, None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)


def install(app: FastAPI, access: Access) -> None:
    """Put the checks on an application; the last one added is asked first."""
    app.add_middleware(KeyCheck, access=access)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "X-Model-Version", "Retry-After", "Server-Timing"],
        )
    app.add_middleware(OriginCheck, access=access)


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who asks, as the middleware has found."""
    caller: Caller = connection.state.caller
    return caller


def owned(session_id: str, caller: Caller) -> str:
    """Return a session's id; raises NotFound, as for one that does not exist, when it is another owner's."""
    if not belongs_to(session_id, caller.owner):
        raise NotFound("no such session")
    return session_id


def refuse_over_quota(request: Request, live: LiveSessions, messages: Sequence[Message]) -> None:
    """Raise RateLimited when the quota is spent, unless the person is in danger."""
    refusal: EmpatheticError | None = getattr(request.state, "over_quota", None)
    if refusal is not None and not (messages and live.chat.responder.is_crisis(messages)):
        raise refusal


def _is_own(origin: str, connection: HTTPConnection) -> bool:
    """Compare host and port alone: behind a proxy that ends TLS the server's own scheme is another one."""
    return urlsplit(origin).netloc.lower() == connection.headers.get("host", "").lower() != ""


def _is_turn(method: str, path: str) -> bool:
    return (method == "POST" and (path in ("/v1/chat", "/v1/chat/completions") or path.endswith("/regenerate"))) or (
        method == "PUT" and "/messages/" in path
    )


async def _refuse(error: EmpatheticError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the contract's error; a WebSocket is refused before it is accepted."""
    request_id = scope.get("state", {}).get("request_id") or new_request_id(scope)
    response = error_response(error, request_id)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        if isinstance(error, Unauthenticated):
            response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, send)
