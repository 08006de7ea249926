"""Who may come in, over HTTP and WebSocket: origins, keys, quotas, foreign sessions, slow clients; each refused by the contract's error."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
from typing import Any

import httpx2
import pytest
from empathetic_server import Settings
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.chatting import FakeGenerator, Running, hello, receive, running, send, until_type

pytestmark = pytest.mark.anyio

ANN, BOB = "emp_key-of-ann-0123456789", "emp_key-of-bob-0123456789"
PAGE = "https://example.org"
DANGER = "I want to kill myself"
TEXT = {"input": "What a day!"}


def settings(**changes: Any) -> Settings:
    return Settings(port=0, page=False, sessions="memory://", drain_seconds=5, **changes)


def keyed(**changes: Any) -> Settings:
    return settings(api_keys=SecretStr(f"{ANN},{BOB}"), **changes)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def refused(response: httpx2.Response) -> tuple[int, str]:
    """Return status and code of an error, after checking that it is the contract's."""
    error = response.json()["error"]
    assert set(error) == {"code", "message", "retryable", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    assert ANN not in response.text
    return response.status_code, error["code"]


# --- keys


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {ANN}", ANN, f"Bearer {ANN}x", f"Bearer {ANN[:-1]}", "Bearer é"]
)
async def test_every_v1_route_asks_for_the_key(header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode()}
    async with running(settings=keyed()) as at:
        for method, path in (
            ("POST", "/v1/emotions"),
            ("POST", "/v1/chat"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("POST", "/v1/sessions"),
            ("GET", "/v1/sessions/x"),
            ("DELETE", "/v1/sessions/x"),
            ("GET", "/v1/nothing"),
        ):
            response = await at.http.request(method, path, headers=headers)
            assert refused(response) == (401, "unauthenticated"), path
            assert response.headers["www-authenticate"] == "Bearer"


async def test_what_anybody_may_need_asks_for_no_key() -> None:
    async with running(settings=keyed()) as at:
        for path in ("/livez", "/readyz", "/metrics", "/crisis-protocol", "/docs", "/openapi.json"):
            assert (await at.http.get(path)).status_code == 200, path


async def test_a_key_lets_in_and_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(settings=keyed()) as at:
        assert (await at.http.post("/v1/emotions", json=TEXT, headers=bearer(ANN))).status_code == 200
        assert (await at.http.post("/v1/emotions", json=TEXT, headers={"authorization": f"bearer {BOB}"})).status_code == 200
        session_id = (await at.http.post("/v1/sessions", headers=bearer(ANN))).json()["session_id"]
        await at.http.get(f"/v1/sessions/{session_id}", headers=bearer(BOB))
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("empathetic"))
    assert ANN not in ours
    assert session_id not in ours


async def test_a_socket_shows_its_key_in_the_header_or_in_the_first_frame() -> None:
    async with running(settings=keyed()) as at:
        async with at.socket(additional_headers=bearer(ANN)) as socket:
            assert (await hello(socket))["type"] == "ready"
        async with at.socket() as socket:
            assert (await hello(socket, api_key=BOB))["type"] == "ready"
        for wrong in ({}, {"api_key": "wrong"}, {"api_key": ""}):
            async with at.socket() as socket:
                answer = await hello(socket, **wrong)
                assert answer["error"]["code"] == "unauthenticated"
                with pytest.raises(ConnectionClosed) as closed:
                    await receive(socket)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        with pytest.raises(InvalidStatus) as turned_away:
            async with at.socket(additional_headers=bearer("wrong")):
                pass
        assert turned_away.value.response.status_code == 401


async def test_a_revoked_key_is_out_at_once_also_on_an_open_socket(tmp_path: Any) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ANN}\n{BOB}\n")
    async with running(settings=settings(api_keys=SecretStr(f"file://{file}")), generators=[FakeGenerator()]) as at:
        async with at.socket(additional_headers=bearer(ANN)) as socket:
            await hello(socket)
            await send(socket, type="message", text="hello", client_id="1")
            await until_type(socket, "done")
            file.write_text(f"{BOB}\n")
            await send(socket, type="message", text="hello again", client_id="2")
            assert (await receive(socket))["error"]["code"] == "unauthenticated"
            with pytest.raises(ConnectionClosed):
                await receive(socket)
        assert (await at.http.get("/v1/models", headers=bearer(ANN))).status_code == 401
        assert (await at.http.get("/v1/models", headers=bearer(BOB))).status_code == 200


# --- sessions of others


async def begun_by_ann(at: Running) -> tuple[str, dict[str, Any]]:
    turn = await at.http.post("/v1/chat", json={"message": "my secret"}, headers=bearer(ANN))
    return turn.json()["session_id"], turn.json()


async def test_a_foreign_session_looks_like_none_on_every_route() -> None:
    async with running(settings=keyed(), generators=[FakeGenerator()]) as at:
        session_id, turn = await begun_by_ann(at)
        for secret in (session_id, session_id.split("~")[0], session_id.split("~")[0] + "~" + "0" * 16, "nothing"):
            one = f"/v1/sessions/{secret}"
            for method, path, body in (
                ("GET", one, None),
                ("PATCH", one, {"user_name": "Bob"}),
                ("DELETE", one, None),
                ("GET", one + "/export", None),
                ("POST", one + "/feedback", {"message_id": turn["reply_id"], "rating": "up"}),
                ("POST", one + "/regenerate", {"reply_id": turn["reply_id"]}),
                ("PUT", f"{one}/messages/{turn['message_id']}", {"text": "changed"}),
                ("POST", "/v1/chat", {"message": "hello", "session_id": secret}),
            ):
                response = await at.http.request(method, path, json=body, headers=bearer(BOB))
                assert refused(response) == (404, "not_found"), path
                assert response.json()["error"]["message"] == "no such session"
        kept = (await at.http.get(f"/v1/sessions/{session_id}", headers=bearer(ANN))).json()
    assert kept["messages"][0]["text"] == "my secret"
    assert kept["user_name"] is None


async def test_a_foreign_session_looks_like_none_to_a_socket() -> None:
    async with running(settings=keyed(), generators=[FakeGenerator()]) as at:
        session_id, turn = await begun_by_ann(at)
        async with at.socket(additional_headers=bearer(BOB)) as socket:
            for secret in (session_id, "nothing"):
                assert (await hello(socket, session_id=secret, last_seq=0))["error"]["message"] == "no such session"
            await hello(socket)
            await send(socket, type="regenerate", reply_id=turn["reply_id"])
            assert (await receive(socket))["error"]["code"] == "not_found"
            await send(socket, type="edit", message_id=turn["message_id"], text="changed")
            assert (await receive(socket))["error"]["code"] == "not_found"


# --- origins


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://", "http://127.0.0.1.evil.example"])
async def test_a_foreign_page_may_do_nothing(origin: str) -> None:
    async with running() as at:
        for method, path in (("POST", "/v1/emotions"), ("POST", "/v1/sessions"), ("GET", "/metrics"), ("OPTIONS", "/v1/chat")):
            response = await at.http.request(method, path, headers={"origin": origin, "access-control-request-method": "POST"})
            assert refused(response) == (403, "forbidden")
            assert "access-control-allow-origin" not in response.headers
        with pytest.raises(InvalidStatus) as turned_away:
            async with at.socket(origin=origin):
                pass
        assert turned_away.value.response.status_code == 403
        assert json.loads(turned_away.value.response.body or b"{}")["error"]["code"] == "forbidden"


async def test_an_allowed_page_may_call_and_read_also_errors() -> None:
    async with running(settings=settings(allowed_origins=(PAGE,))) as at:
        asked = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert (await at.http.options("/v1/emotions", headers=asked)).headers["access-control-allow-origin"] == PAGE
        for body, status in ((TEXT, 200), ({}, 422)):
            response = await at.http.post("/v1/emotions", json=body, headers={"origin": PAGE})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == PAGE
        assert refused(await at.http.post("/v1/emotions", json=TEXT, headers={"origin": PAGE + ".evil"})) == (403, "forbidden")
        async with at.socket(origin=PAGE) as socket:
            assert (await hello(socket))["type"] == "ready"


async def test_the_servers_own_page_may_call() -> None:
    async with running() as at:
        assert (await at.http.post("/v1/emotions", json=TEXT, headers={"origin": at.address})).status_code == 200


# --- quotas


async def test_the_quota_edge() -> None:
    async with running(settings=keyed(quota_per_key="3/minute")) as at:
        answers = [await at.http.post("/v1/emotions", json=TEXT, headers=bearer(ANN)) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert refused(answers[3]) == (429, "rate_limited")
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        assert (await at.http.post("/v1/emotions", json=TEXT, headers=bearer(BOB))).status_code == 200
        assert (await at.http.get("/livez")).status_code == 200


async def test_over_the_quota_a_person_in_danger_is_still_answered() -> None:
    async with running(settings=settings(quota_per_address="2/minute")) as at:
        async with at.socket() as socket:
            await hello(socket)
            for number, text in enumerate(("hello", "how are you?")):
                await send(socket, type="message", text=text, client_id=str(number))
                await until_type(socket, "done")
            await send(socket, type="message", text="and now?", client_id="2")
            assert (await receive(socket))["error"]["code"] == "rate_limited"
            await send(socket, type="message", text=DANGER, client_id="3")
            assert (await until_type(socket, "done"))[-1]["finish_reason"] == "crisis"
        assert refused(await at.http.post("/v1/chat", json={"message": "hello"})) == (429, "rate_limited")
        assert (await at.http.post("/v1/chat", json={"message": DANGER})).json()["finish_reason"] == "crisis"
        spoken = [{"role": "user", "content": "hello"}]
        assert refused(await at.http.post("/v1/chat/completions", json={"messages": spoken})) == (429, "rate_limited")
        spoken[0]["content"] = DANGER
        answer = (await at.http.post("/v1/chat/completions", json={"messages": spoken})).json()
        assert answer["empathetic"]["finish_reason"] == "crisis"


@pytest.mark.parametrize(("proxies", "allowed"), [(None, [200, 429, 429]), ("127.0.0.1", [200, 200, 429])])
async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(proxies: str | None, allowed: list[int]) -> None:
    async with running(settings=settings(quota_per_address="1/minute", trusted_proxies=proxies)) as at:
        statuses = []
        for forwarded in ("192.0.2.1", "198.51.100.9, 192.0.2.2", "192.0.2.1"):
            response = await at.http.post("/v1/emotions", json=TEXT, headers={"x-forwarded-for": forwarded})
            statuses.append(response.status_code)
    assert statuses == allowed


# --- headers


async def test_every_answer_tells_browsers_to_be_careful() -> None:
    async with running(settings=settings(allowed_origins=(PAGE,))) as at:
        for path in ("/livez", "/v1/models", "/nothing", "/docs", "/crisis-protocol", "/v1/sessions/nothing"):
            headers = (await at.http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "default-src 'none'" in headers["content-security-policy"]
        assert (await at.http.get("/v1/models")).headers["cache-control"] == "no-store"


async def test_the_policy_of_a_page_names_its_scripts_and_no_others() -> None:
    async with running(settings=settings(allowed_origins=(PAGE,))) as at:
        page = await at.http.get("/docs")
        policy = page.headers["content-security-policy"]
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert scripts
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe-eval" not in policy
    assert f"frame-ancestors 'self' {PAGE}" in policy


# --- slow and malformed clients


async def raw(at: Running, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes, read until the server closes or has answered, and return the status and the body."""
    host, port = at.address.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 40)
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]  # a miss fails the test, too
    body = await reader.readexactly(length)
    writer.close()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.slow
async def test_slow_senders_are_sent_away_by_the_contracts_error() -> None:
    async with running() as at:
        answers = await asyncio.gather(
            raw(at, b""),
            raw(at, b"POST /v1/emotions HTTP/1.1\r\nhost: x\r\nx-a: "),
            raw(at, b"POST /v1/emotions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"),
        )
    assert [(status, body["error"]["code"]) for status, body in answers] == [(400, "malformed_request")] * 3


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"],
)
async def test_what_is_no_http_gets_the_contracts_error(request_bytes: bytes) -> None:
    async with running() as at:
        status, body = await raw(at, request_bytes)
    assert (status, body["error"]["code"]) == (400, "malformed_request")


@pytest.mark.slow
async def test_a_slow_reader_is_cut_off_and_its_generation_ends() -> None:
    generator = FakeGenerator(pieces=["word " * 20_000] * 900)
    async with running(generators=[generator]) as at:
        host, port = at.address.removeprefix("http://").rsplit(":", 1)
        body = json.dumps({"message": "tell me", "stream": True}).encode()
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"POST /v1/chat HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await asyncio.wait_for(generator.aborted.wait(), 60)
        writer.close()
