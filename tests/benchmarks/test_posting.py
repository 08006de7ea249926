"""The load's HTTP client against servers that do what HTTP allows, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest
from empathetic_bench.loads import Refused
from empathetic_bench.posting import Poster

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def against(answers: list[bytes], use: Callable[[Poster], Awaitable[T]]) -> tuple[T, int, list[bytes]]:
    """Use a client of a server with these answers, of which an empty one closes; returns what came out, connections and requests."""
    requests: list[bytes] = []
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            requests.append(head + await reader.readexactly(length))
            answer = answers.pop(0)
            writer.write(answer)
            if not answer or b"connection: close" in answer:
                return

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.ensure_future(serve(reader, writer)))
        with suppress(asyncio.IncompleteReadError):  # the client has hung up
            await serving[-1]
        writer.close()

    async def run() -> T:
        server = await asyncio.start_server(serve_and_close, "127.0.0.1", 0)
        poster = Poster(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/emotions")
        try:
            return await use(poster)
        finally:
            poster.close()
            await asyncio.wait(serving)
            await asyncio.sleep(0.01)  # until the sockets are closed
            server.close()

    return asyncio.run(run()), len(serving), requests


async def twice(poster: Poster) -> list[bytes]:
    return [await poster.post({"input": ["a"]}), await poster.post({"input": ["ä"]})]


def test_a_connection_serves_one_request_after_the_other() -> None:
    answers, connections, requests = against([OK, OK], twice)
    assert (answers, connections) == ([b"ok", b"ok"], 1)
    assert [request.partition(b"\r\n")[0] for request in requests] == [b"POST /v1/emotions HTTP/1.1"] * 2
    assert requests[1].endswith(b'{"input": ["\\u00e4"]}')


def test_an_answer_in_pieces_is_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    assert against([chunked, OK], twice)[:2] == ([b"ok", b"ok"], 1)


def test_a_server_that_closes_after_its_answer_gets_another_connection() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert against([closing, OK], twice)[:2] == ([b"ok", b"ok"], 2)


def test_a_status_that_is_no_success_leaves_the_connection_open() -> None:
    async def use(poster: Poster) -> bytes:
        with pytest.raises(Refused, match="429"):
            await poster.post({})
        return await poster.post({})

    assert against([OK.replace(b"200 OK", b"429 Too Many Requests"), OK], use)[:2] == (b"ok", 1)


@pytest.mark.parametrize(("answer", "reason"), [(b"", "closed before the answer"), (b"SSH-2.0-OpenSSH\r\n", "not HTTP")])
def test_what_is_no_answer_is_refused(answer: bytes, reason: str) -> None:
    async def use(poster: Poster) -> bytes:
        with pytest.raises(Refused, match=reason):
            await poster.post({})
        return await poster.post({})

    assert against([answer, OK], use)[:2] == (b"ok", 2)


def test_only_http_urls_can_be_asked() -> None:
    with pytest.raises(ValueError, match="https"):
        Poster("https://example.org/v1/emotions")
