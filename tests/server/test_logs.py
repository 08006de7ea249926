"""What the server logs, and that a request's id is found in every part that worked on it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from empathetic_server.logs import JsonFormatter, TextFormatter, fields, request_id
from websockets.asyncio.client import connect

from tests.server.chatting import hello, send, until_type
from tests.server.test_serve import listening_address, start

pytestmark = pytest.mark.anyio
CANARY = "canary7391"


def record(**changes: Any) -> logging.LogRecord:
    defaults = {"name": "x", "level": logging.INFO, "pathname": "", "lineno": 1, "msg": "%d texts", "args": (3,), "exc_info": None}
    made = logging.LogRecord(**{**defaults, **changes})
    made.__dict__.update(fields(route="/v1/chat", status=200))
    return made


def test_a_json_line_holds_the_event_its_fields_and_the_request() -> None:
    token = request_id.set("abc")
    event = json.loads(JsonFormatter().format(record()))
    request_id.reset(token)
    assert event.pop("time").endswith("+00:00")
    expected = {"level": "info", "logger": "x", "message": "3 texts", "request_id": "abc", "route": "/v1/chat", "status": 200}
    assert event == expected


def test_a_defect_is_one_json_line_with_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = JsonFormatter().format(record(exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_a_text_line_holds_the_fields_and_no_request_where_there_is_none() -> None:
    assert TextFormatter().format(record()).endswith("INFO x 3 texts route=/v1/chat status=200")


@pytest.mark.slow
async def test_each_answer_is_one_line_with_its_route_and_id_and_nothing_of_the_person(root: Path) -> None:
    with start(root, EMPATHETIC_LOG_FORMAT="json", EMPATHETIC_LOG_LEVEL="info") as process:
        address = listening_address(process)
        async with httpx2.AsyncClient(base_url=address, timeout=30, headers={"x-request-id": "seen-by-all"}) as http:
            session_id = (await http.post("/v1/chat", json={"message": f"I feel so sad, {CANARY}"})).json()["session_id"]
            await http.get(f"/v1/sessions/{session_id}")
            await http.get(f"/{CANARY}")
            await http.get("/readyz")
        async with connect(f"ws{address[4:]}/v1/chat/ws") as socket:
            await hello(socket, session_id=session_id)
            await send(socket, type="message", text=f"I want to die, {CANARY}", client_id="c")
            await until_type(socket, "done")
        process.terminate()
        _, log = process.communicate(timeout=30)
    lines = [json.loads(line) for line in log.splitlines()]
    answered = [line for line in lines if line["message"] == "answered"]
    assert [(line["method"], line["route"], line["status"], line["request_id"]) for line in answered] == [
        ("POST", "/v1/chat", 200, "seen-by-all"),
        ("GET", "/v1/sessions/{session_id}", 200, "seen-by-all"),
        ("GET", "unmatched", 404, "seen-by-all"),
    ]
    assert all(line["ms"] > 0 for line in answered)
    [ended] = [line for line in lines if line["message"] == "a connection ended"]
    assert ended["seconds"] >= 0
    assert len(ended["request_id"]) == 32
    assert CANARY not in log
    assert session_id not in log
    assert "crisis" not in log
