"""Whatever is sent, the answer is one of the contract's: never a 5xx, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from empathetic_server import Settings, create_app
from empathetic_server.texts import clean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.server.chatting import hello, running, send, until_type
from tests.server.conftest import FakeClassifier
from tests.server.test_serve import address  # noqa: F401  # the same fixture

pytestmark = pytest.mark.slow
CODES = {"malformed_request", "invalid_request", "not_found", "session_busy", "too_large"}
FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))

WITHOUT_PAGE = Settings(page=False, sessions="memory://")
SCHEMA = schemathesis.openapi.from_dict(create_app(WITHOUT_PAGE, classifier=FakeClassifier(), generators=()).openapi())
OPERATIONS = [operation.ok() for operation in SCHEMA.get_all_operations()]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize(
    ("operation", "mode"),
    # Without a body there is nothing to get wrong but the path.
    [(operation, mode) for operation in OPERATIONS for mode in GenerationMode if mode.is_positive or operation.body],
    ids=lambda value: str(getattr(value, "label", value)),
)
def test_no_request_of_the_openapi_document_is_answered_with_a_5xx(operation: Any, mode: GenerationMode, address: str) -> None:  # noqa: F811
    @FUZZ
    @given(operation.as_strategy(generation_mode=mode))
    def send_case(case: Any) -> None:
        if isinstance(case.body, dict):
            case.body.pop("timeout_ms", None)  # a client that waits a millisecond is answered 504, and rightly
        case.call_and_validate(base_url=address, checks=CHECKS)

    send_case()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["hello", "message", "stop", "regenerate", "edit", "ping", "ack", "nothing"])
FIELDS = ["text", "client_id", "session_id", "last_seq", "reply_id", "message_id", "api_key", "temporary"]
NEAR_FRAMES = st.builds(
    lambda kind, rest: {"type": kind, **rest},
    NAMES,
    st.dictionaries(st.sampled_from(FIELDS), JSON | st.text(st.characters(), min_size=1, max_size=30), max_size=4),
)
FRAMES = st.lists(
    NEAR_FRAMES.map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=50) | st.binary(max_size=50), min_size=1, max_size=12
)


async def rest_of(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """Yield what still comes until the server, which drains, closes."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def converse(frames: list[str | bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    """Send frames, then ping; return what was received until the turns were over, and the texts that are stored."""
    async with running() as at, at.socket() as socket:
        session_id = (await hello(socket))["session_id"]
        received: list[dict[str, Any]] = []
        for frame in frames:
            await socket.send(frame)
            await send(socket, type="ping")
            received += await until_type(socket, "pong")
        await at.live.drain(20)
        received += [json.loads(frame) async for frame in rest_of(socket)]
        stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()["messages"]
    return received, [message["text"] for message in stored if message["role"] == "user"]


@FUZZ
@given(FRAMES)
def test_no_frame_breaks_a_socket_and_every_acknowledged_message_is_answered_and_stored(frames: list[str | bytes]) -> None:
    received, stored = asyncio.run(converse(frames))
    errors = [frame["error"]["code"] for frame in received if frame["type"] == "error"]
    assert set(errors) <= CODES
    accepted = [frame["message_id"] for frame in received if frame["type"] == "ack" and not frame["duplicate"]]
    answered = [frame["message_id"] for frame in received if frame["type"] == "done"]
    assert accepted == answered
    assert len(stored) == len(set(accepted))
    numbers = [frame["seq"] for frame in received if "seq" in frame]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.fixture
def naughty() -> list[str]:
    """The Big List of Naughty Strings; needs EMPATHETIC_DATA."""
    folder = os.environ.get("EMPATHETIC_DATA")
    if not folder:
        pytest.skip("EMPATHETIC_DATA is not set: it names the folder that holds hostile/blns.json")
    strings = json.loads((Path(folder) / "hostile" / "blns.json").read_text(encoding="utf-8"))
    assert len(strings) > 400
    return list(strings)


@pytest.mark.anyio
async def test_every_naughty_string_is_a_message_like_any_other(naughty: list[str]) -> None:
    async with running() as at, at.socket() as socket:
        session_id = (await hello(socket, temporary=True))["session_id"]
        for number, text in enumerate(naughty):
            await send(socket, type="message", text=text, client_id=str(number))
            last = (await until_type(socket, "done", "error"))[-1]
            if last["type"] == "error":
                assert (last["error"]["code"], clean(text)) == ("invalid_request", "")
        stored = (await at.http.get(f"/v1/sessions/{session_id}")).json()
        markdown = await at.http.get(f"/v1/sessions/{session_id}/export?format=markdown")
    assert markdown.status_code == 200
    assert len(stored["messages"]) > 2 * 400
