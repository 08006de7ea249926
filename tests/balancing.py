"""A small load balancer for tests: gives each new connection to the next server whose /readyz says 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2

_PROBE_SECONDS = 0.2


class Balancer:
    """Copies bytes between clients and servers; knows nothing of what is in them.

    Attributes:
        address: where clients connect.
        servers: addresses of servers, ready or not.
    """

    def __init__(self) -> None:
        self.address = ""
        self.servers: list[str] = []
        self._ready: list[str] = []
        self._turn = 0

    def is_used(self, server: str) -> bool:
        """Whether new connections go to a server."""
        return server in self._ready

    async def probe_forever(self) -> None:
        """Ask every server whether it is ready, again and again."""
        async with httpx2.AsyncClient(timeout=2) as http:
            while True:
                self._ready = [server for server in self.servers if await _is_ready(http, server)]
                await asyncio.sleep(_PROBE_SECONDS)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._turn += 1
        host, port = self._ready[self._turn % len(self._ready)].removeprefix("http://").split(":")
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
        finally:
            for side in (writer, upstream_writer):
                side.close()
                with suppress(ConnectionError):
                    await side.wait_closed()


@asynccontextmanager
async def balancer(*servers: str) -> AsyncIterator[Balancer]:
    """A load balancer before some servers."""
    balancing = Balancer()
    balancing.servers = list(servers)
    connections: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(balancing.forward(reader, writer)))

    probing = asyncio.create_task(balancing.probe_forever())
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    balancing.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        while not all(map(balancing.is_used, servers)):  # noqa: ASYNC110  # they are probed over sockets
            await asyncio.sleep(0.01)
        yield balancing
    finally:
        listening.close()
        for task in (probing, *connections):
            task.cancel()
        outcomes = await asyncio.gather(probing, *connections, return_exceptions=True)
        await listening.wait_closed()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side closes; then the other side is closed too."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _is_ready(http: httpx2.AsyncClient, server: str) -> bool:
    try:
        return (await http.get(f"{server}/readyz")).status_code == 200
    except httpx2.TransportError:
        return False
