"""Redis as the server's parts use it: connections, scripts, the names of a session's keys. The only place that knows its exceptions."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ChildDeadlockedError,
    IncorrectPolicyType,
    NoPermissionError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .errors import BackendUnavailable, StoreError

logger = logging.getLogger(__name__)

# A disk that syncs slowly may take a second; who does not answer within this time hangs.
TIMEOUT_SECONDS = 3.0
# A readiness check that is asked every second or so must not wait as long.
_READY_SECONDS = 1.0
# Each is in use for one call alone; Redis computes on one core.
_MAX_CONNECTIONS = 64
_PROBE = "empathetic:probe"
# What the library may raise: its exceptions have three roots beside `RedisError`; sockets and uvloop's closed transports break through.
FAILURES = (RedisError, RedisClusterException, ChildDeadlockedError, IncorrectPolicyType, OSError, asyncio.TimeoutError, RuntimeError)
_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)


class SessionKeys(NamedTuple):
    """A session's keys, in the order in which every script receives them; the part in braces keeps them in one place of a cluster."""

    session: str
    order: str
    messages: str
    clients: str
    feedback: str
    frames: str
    turn: str


def session_keys(session_id: str) -> SessionKeys:
    """Return the names of a session's keys."""
    return SessionKeys(*(f"empathetic:{{{session_id}}}:{part}" for part in SessionKeys._fields))


@contextmanager
def translated() -> Iterator[None]:
    """Turn Redis' errors into ours. Their text is not passed on: it may hold what was sent."""
    try:
        yield
    except (RedisTimeoutError, asyncio.TimeoutError) as exc:
        raise BackendUnavailable("the session store did not answer in time", retry_after_s=1) from exc
    except (RedisConnectionError, OSError, RuntimeError) as exc:
        raise BackendUnavailable("the session store cannot be reached", retry_after_s=1) from exc
    except FAILURES as exc:
        raise BackendUnavailable(f"the session store failed: {type(exc).__name__}", retry_after_s=1) from exc


class RedisConnection:
    """Connections to one Redis, opened when they are needed.

    Args:
        url: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss:// the same over TLS, or unix://PATH[?db=DB].

    Raises:
        StoreError: the URL is not one.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            is_socket = parts.scheme == "unix"
            if not (parts.path if is_socket else parts.hostname and re.fullmatch(r"(/\d*)?", parts.path)):
                raise ValueError
            # A command that was sent once may have been executed: only the caller knows whether it may be sent again.
            self._pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_MAX_CONNECTIONS,
                timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
            self._where = parts.path if is_socket else f"{parts.hostname}:{parts.port or 6379}"
        except ValueError:  # its message may hold the password
            raise StoreError("a Redis is named by redis://[:PASSWORD@]HOST:PORT[/DB], rediss:// or unix:///PATH") from None
        self.client: Redis = Redis(connection_pool=self._pool)
        self._scripts: dict[str, AsyncScript] = {}
        self.is_open = False

    async def open(self) -> None:
        """Connect, write a key that expires and publish something; raises StoreError when Redis cannot be used so."""
        if self.is_open:
            return
        try:
            await self._probe()
            await self.client.publish(_PROBE, "")
        except NoPermissionError as exc:
            raise StoreError(f"Redis at {self._where} does not allow the user all keys and channels named empathetic:*") from exc
        except _REFUSALS as exc:
            raise StoreError(f"Redis at {self._where} refuses the user or the password") from exc
        except (RedisTimeoutError, asyncio.TimeoutError) as exc:
            raise StoreError(f"Redis at {self._where} does not answer within {TIMEOUT_SECONDS:.0f} s") from exc
        except (RedisConnectionError, OSError) as exc:
            raise StoreError(f"Redis at {self._where} cannot be reached, or is not a Redis") from exc
        except (*FAILURES, TypeError) as exc:  # TypeError: a parameter in the URL that no connection has
            raise StoreError(f"Redis at {self._where} cannot be used: {type(exc).__name__}") from exc
        self.is_open = True

    async def warn_of_losses(self) -> None:
        """Log what this Redis may lose of what was acknowledged, as far as it lets itself be asked."""
        try:
            with translated():
                settings = {**await self.client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")}
        except BackendUnavailable:
            logger.info("Redis does not let its settings be read: docs/operations.md says which ones keep acknowledged messages")
            return
        values = {_text(name): _text(value) for name, value in settings.items() if name and value}
        if values.get("appendonly") != "yes":
            logger.warning("Redis keeps no log of changes (appendonly no): when it is killed, acknowledged messages are lost")
        elif values.get("appendfsync") != "always":
            logger.warning("Redis writes its log with a delay (appendfsync is not always): when it is killed, the last second may be lost")
        if values.get("maxmemory", "0") != "0" and values.get("maxmemory-policy") != "noeviction":
            logger.warning("Redis drops conversations when its memory is full: set maxmemory-policy to noeviction")

    async def run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a Lua script, one atomic step; raises BackendUnavailable."""
        if not self.is_open:
            raise BackendUnavailable("the session store is not open", retry_after_s=1)
        with translated():
            if script not in self._scripts:
                self._scripts[script] = self.client.register_script(script)
            return await self._scripts[script](keys=keys, args=arguments)

    async def ready(self) -> bool:
        """Whether something can be written now: a Redis may answer and refuse writes, when its disk or memory is full."""
        try:
            with translated():
                await asyncio.wait_for(self._probe(), _READY_SECONDS)
        except BackendUnavailable:
            return False
        return self.is_open

    @staticmethod
    def translated() -> AbstractContextManager[None]:
        """Turn Redis' errors into ours, for who must not import this module unless there is a Redis."""
        return translated()

    def counters(self, prefix: str) -> RedisStorage:
        """Return a storage for rate limits on these connections; raises the library's errors."""
        # The URL names the kind of storage alone. The library's types leave the pool out, its documentation does not.
        pool: Any = self._pool
        return RedisStorage("async+redis://", implementation="redispy", key_prefix=prefix, connection_pool=pool)

    async def aclose(self) -> None:
        """Disconnect. May be called twice."""
        self.is_open = False
        await self.client.aclose()
        await self._pool.disconnect()

    async def _probe(self) -> None:
        await self.client.set(_PROBE, 1, ex=60)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
