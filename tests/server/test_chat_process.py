"""The chat as its users run it: a server process, killed and restarted, and `empathetic-chat` in a terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.scripted_openai import ScriptedOpenAI, answers, scripted_openai, waits
from tests.server.chatting import hello, receive, said, send, until_type
from tests.server.test_serve import listening_address, refused, start

pytestmark = [pytest.mark.slow, pytest.mark.anyio]
PIECES = ("That sounds ", "like a long day. ", "What was the hardest part?")


@contextmanager
def terminal(root: Path, address: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Run `empathetic-chat`."""
    command = [sys.executable, "-u", "-m", "empathetic_server.terminal", "--url", f"ws{address[4:]}/v1/chat/ws", *flags]
    environment = {**os.environ, "PYTHONPATH": str(root / "server"), "COLUMNS": "200"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(root: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with start(root, **settings) as process:
        try:
            yield process, listening_address(process)
        finally:
            process.kill()


async def asked(vllm: ScriptedOpenAI, requests: int) -> None:
    """Wait until so many requests have come."""
    while len(vllm.asked) < requests:  # noqa: ASYNC110  # they cross a socket
        await asyncio.sleep(0.01)


async def closing(socket: ClientConnection) -> int:
    """Wait until the server closes, and return its code."""
    with pytest.raises(ConnectionClosed) as closed:
        await receive(socket)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return a process's output up to and with a text."""
    assert process.stdout
    seen = ""
    while text not in seen:
        character = process.stdout.read(1)
        assert character, seen
        seen += character
    return seen


async def test_a_conversation_on_the_committed_model_with_written_replies(root: Path) -> None:
    with serving(root) as (_, address):
        async with httpx2.AsyncClient(base_url=address, timeout=30) as http:
            sad = (await http.post("/v1/chat", json={"message": "I feel so sad, my dog died yesterday"})).json()
            session = {"session_id": sad["session_id"]}
            better = (await http.post("/v1/chat", json={**session, "message": "I'm Ana. Thank you so much, that helps."})).json()
            stored = (await http.get(f"/v1/sessions/{sad['session_id']}")).json()
            ready = (await http.get("/readyz")).json()
    assert sad["emotion"]["primary"] == "sadness"
    assert better["emotion"]["primary"] == "gratitude"
    assert (better["trajectory"]["state"], better["trajectory"]["stage"]) == ("improving", "middle")
    assert (stored["user_name"], len(stored["messages"])) == ("Ana", 4)
    assert sad["reply"] != better["reply"]
    assert ready["engines"]["generator"] == {"name": "written", "ready": True}
    assert ready["status"] == "ready"


async def test_the_terminal_sends_its_key(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "emp_key-of-the-terminal-0123456789"
    with serving(root, EMPATHETIC_API_KEYS=key) as (_, address):
        monkeypatch.setenv("EMPATHETIC_API_KEY", key)
        with terminal(root, address) as chat:
            read_until(chat, "Mira:")
        for wrong in ("", "emp_wrong"):
            monkeypatch.setenv("EMPATHETIC_API_KEY", wrong)
            with terminal(root, address) as chat:
                read_until(chat, "API key")
                assert chat.wait(20) == 1


async def test_kill_9_in_the_middle_of_a_turn_loses_nothing_and_the_turn_is_answered_after_the_restart(root: Path, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with scripted_openai(answers(*PIECES), waits(gate), answers(*PIECES)) as vllm:
        settings = {"EMPATHETIC_SESSIONS": f"sqlite:///{tmp_path}/s.db", "EMPATHETIC_VLLM_URL": vllm.url}
        with serving(root, **settings) as (process, address):
            async with connect(f"ws{address[4:]}/v1/chat/ws") as socket:
                session_id = (await hello(socket))["session_id"]
                await send(socket, type="message", text="first", client_id="c1")
                seen = await until_type(socket, "done")
                await send(socket, type="message", text="second", client_id="c2")
                seen += await until_type(socket, "emotion")
                await asked(vllm, 2)
                process.kill()
                await asyncio.to_thread(process.wait)
        with serving(root, **settings) as (_, address):
            async with connect(f"ws{address[4:]}/v1/chat/ws") as socket:
                await hello(socket, session_id=session_id, last_seq=seen[-1]["seq"])
                resumed = await receive(socket)
                rest = await until_type(socket, "done")
                await send(socket, type="message", text="second", client_id="c2")
                repeated = await receive(socket)
            stored = httpx2.get(f"{address}/v1/sessions/{session_id}").json()
    assert (resumed["type"], resumed["complete"]) == ("resumed", False)
    assert (rest[0]["type"], rest[0]["client_id"], rest[0]["duplicate"]) == ("ack", "c2", True)
    assert [frame["seq"] for frame in [*seen, *rest, repeated]] == list(range(1, len(seen) + len(rest) + 2))
    assert said(rest) == rest[-1]["reply"] == "".join(PIECES)
    assert repeated["duplicate"]
    assert [message["text"] for message in stored["messages"]] == ["first", "".join(PIECES), "second", "".join(PIECES)]


async def test_sigterm_lets_a_running_turn_finish_and_closes_sockets_with_1012(root: Path) -> None:
    gate = asyncio.Event()
    async with scripted_openai(waits(gate, *PIECES)) as vllm:
        with serving(root, EMPATHETIC_VLLM_URL=vllm.url) as (process, address):
            url = f"ws{address[4:]}/v1/chat/ws"
            async with connect(url) as socket, connect(url) as other, httpx2.AsyncClient(base_url=address) as http:
                await hello(socket)
                await hello(other)
                await send(socket, type="message", text="hello there", client_id="c1")
                await until_type(socket, "emotion")
                process.send_signal(signal.SIGTERM)
                idle = await closing(other)  # nothing keeps it: its client may go to another server at once
                refused_turn = await http.post("/v1/chat", json={"message": "too late"})
                unready = await http.get("/readyz")
                gate.set()
                frames = await until_type(socket, "done")
                busy = await closing(socket)
            assert await asyncio.to_thread(process.wait, 20) == 0
    assert (refused_turn.status_code, refused_turn.json()["error"]["code"]) == (503, "backend_unavailable")
    assert (unready.status_code, unready.json()["status"]) == (503, "draining")
    assert frames[-1]["reply"] == "".join(PIECES)
    assert (idle, busy) == (1012, 1012)


async def test_before_it_drains_a_server_takes_work_while_load_balancers_turn_away(root: Path) -> None:
    with serving(root, EMPATHETIC_DRAIN_DELAY_SECONDS="2") as (process, address):
        async with httpx2.AsyncClient(base_url=address) as http:
            kept_open = await http.post("/v1/chat", json={"message": "hello there"})
            process.send_signal(signal.SIGTERM)
            while (await http.get("/readyz")).status_code != 503:  # noqa: ASYNC110  # the signal is asynchronous
                await asyncio.sleep(0.01)
            answered = await http.post("/v1/chat", json={"message": "hello again"})
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert "connection" not in kept_open.headers
    assert (answered.status_code, answered.headers["connection"]) == (200, "close")


def test_the_terminal_shows_greeting_emotion_and_reply(root: Path) -> None:
    with serving(root) as (_, address), terminal(root, address) as chat:
        out, _ = chat.communicate("I feel so sad, my dog died\n/again\n/quit\n", timeout=60)
    assert chat.returncode == 0
    assert "You are talking with an AI" in out
    assert "Hi, I'm Mira." in out
    assert "sadness" in out
    assert len(re.findall("^Mira: ", out, re.MULTILINE)) == 3
    assert "--session" in out


async def test_the_terminal_survives_a_crash_of_the_server_in_the_middle_of_a_reply(root: Path, tmp_path: Path) -> None:
    async with scripted_openai(waits(asyncio.Event()), answers(*PIECES)) as vllm:
        settings = {"EMPATHETIC_SESSIONS": f"sqlite:///{tmp_path}/s.db", "EMPATHETIC_VLLM_URL": vllm.url}
        with serving(root, **settings) as (process, address), terminal(root, address) as chat:
            assert chat.stdin
            chat.stdin.write("I feel so sad, my dog died\n")
            chat.stdin.flush()
            out = await asyncio.to_thread(read_until, chat, "sadness")
            await asked(vllm, 1)
            process.kill()
            await asyncio.to_thread(process.wait)
            with serving(root, **settings, EMPATHETIC_PORT=address.rsplit(":", 1)[1]):
                out += await asyncio.to_thread(read_until, chat, PIECES[-1])
                rest, _ = await asyncio.to_thread(chat.communicate, "/quit\n", 60)
    assert chat.returncode == 0
    assert "back again" in out + rest
    assert "".join(PIECES) in out


def test_the_terminal_ends_with_an_error_when_there_is_no_server(root: Path) -> None:
    with terminal(root, "http://127.0.0.1:9") as chat:
        out, _ = chat.communicate(timeout=60)
    assert chat.returncode == 1
    assert "cannot be reached" in out


def test_the_terminal_says_when_a_session_does_not_exist(root: Path) -> None:
    with serving(root) as (_, address), terminal(root, address, "--session", "nobody") as chat:
        out, _ = chat.communicate(timeout=60)
    assert chat.returncode == 1
    assert "no such session" in out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("websocket_client.py", ["I feel so sad today"]), ("openai_client.py", ["I feel so sad today"]), ("chat.sh", [])],
)
def test_the_examples_run(root: Path, name: str, arguments: list[str]) -> None:
    with serving(root) as (_, address):
        if name == "chat.sh":
            command = ["sh", str(root / "examples" / name), address]
        else:
            url = f"ws{address[4:]}/v1/chat/ws" if name.startswith("websocket") else f"{address}/v1"
            command = [sys.executable, str(root / "examples" / name), *arguments, url]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    if name == "chat.sh":
        assert "event: done" in finished.stdout
        assert "# A conversation with Mira" in finished.stdout
    else:
        assert "sadness" in finished.stdout


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        pytest.param({"EMPATHETIC_SESSIONS": "mysql://user:secret@host"}, "sqlite:///", id="an unknown store"),
        pytest.param({"EMPATHETIC_SESSIONS": "redis://user:secret@127.0.0.1:9"}, "cannot be reached", id="a Redis that is not there"),
        pytest.param({"EMPATHETIC_SESSIONS": "redis://user:secret@host:x/db"}, "redis://", id="a malformed address of a Redis"),
        pytest.param({"EMPATHETIC_SESSIONS": "sqlite:////dev/null/x.db"}, "session store", id="a path that cannot be"),
        pytest.param({"EMPATHETIC_RESPONDER": "/nowhere"}, "/nowhere: cannot be loaded", id="an embedded generator without a model"),
        pytest.param({"EMPATHETIC_GENERATOR": "magic"}, "EMPATHETIC_GENERATOR", id="an unknown generator"),
    ],
)
def test_wrong_chat_settings_stop_the_start_with_one_line(root: Path, settings: dict[str, str], complaint: str) -> None:
    process, stderr = refused(root, **settings)
    assert (process.returncode, len(stderr.splitlines())) == (2, 1)
    assert complaint in stderr
    assert "secret" not in stderr


async def test_no_log_metric_or_error_holds_what_a_person_writes(root: Path, tmp_path: Path) -> None:
    canary = "canary-91c7"
    async with scripted_openai(answers(f"{canary} is heavy. "), answers(f"{canary} is")) as vllm:
        settings = {"EMPATHETIC_SESSIONS": f"sqlite:///{tmp_path}/s.db", "EMPATHETIC_VLLM_URL": vllm.url, "EMPATHETIC_LOG_LEVEL": "debug"}
        with start(root, **settings) as process:
            address = listening_address(process)
            answers_seen: list[Any] = []
            async with httpx2.AsyncClient(base_url=address, timeout=30) as http:
                said_so = await http.post("/v1/chat", json={"message": f"I lost my {canary}"})
                path = f"/v1/sessions/{said_so.json()['session_id']}"
                await http.patch(path, json={"user_name": "Canary-nine"})
                reply_id = said_so.json()["reply_id"]
                await http.post(f"{path}/feedback", json={"message_id": reply_id, "rating": "up", "comment": canary})
                for body in (
                    {"message": canary, "session_id": canary},
                    {"message": [canary]},
                    {canary: canary},
                    {"message": canary * 2000},
                ):
                    answers_seen.append(await http.post("/v1/chat", json=body))
                answers_seen.append(await http.post("/v1/chat", content=f'{{"message": "{canary}'.encode()))
                answers_seen.append(await http.get(f"/v1/sessions/{canary}"))
                metrics = (await http.get("/metrics")).text
            async with connect(f"ws{address[4:]}/v1/chat/ws") as socket:
                await hello(socket, session_id=said_so.json()["session_id"])
                await send(socket, type=canary, text=canary)
                error = str(await receive(socket))
                await send(socket, type="message", text=canary, client_id="c")
                await until_type(socket, "done")
            process.terminate()
            out, log = process.communicate(timeout=30)
    assert all(response.status_code in (400, 404, 422) for response in answers_seen)
    for place in (*[response.text for response in answers_seen], metrics, error, out, log):
        assert "canary" not in place.lower()
