"""The server as its users run it: a process, the committed model, a socket."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from empathetic_server.engines.manifest import read_manifest

from tests.server.tiny_artifact import build_artifact

pytestmark = pytest.mark.slow


def start(root: Path, **settings: str) -> subprocess.Popen[str]:
    defaults = {"EMPATHETIC_PORT": "0", "EMPATHETIC_PAGE": "false", "EMPATHETIC_SESSIONS": "memory://"}
    defaults["EMPATHETIC_LOG_LEVEL"] = "warning"  # nobody empties the pipe while the server runs
    environment = {**os.environ, "PYTHONPATH": str(root / "server"), **defaults, **settings}
    command = [sys.executable, "-m", "empathetic_server"]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """The address of a server on the committed model, as it prints it."""
    with start(root) as process:
        yield listening_address(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def listening_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    found = re.search(r"http://[\w.]+:\d+", process.stdout.readline())
    assert found
    return found[0]


def emotions(address: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = httpx2.post(f"{address}/v1/emotions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return list(response.json()["data"])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Thank you so much for your help!", "gratitude"),
        ("I love you with all my heart.", "love"),
        ("I am so angry at him right now.", "anger"),
        ("I'm really sorry, please forgive me.", "remorse"),
        ("That joke was hilarious, I can't stop laughing.", "amusement"),
        ("I'm terrified of what might happen.", "fear"),
        ("I feel so sad and I can't stop crying.", "sadness"),
        ("Why would anybody do that? How does it work?", "curiosity"),
    ],
)
def test_plain_emotion_is_recognised(address: str, text: str, label: str) -> None:
    [found] = emotions(address, {"input": text})
    assert label in [emotion["label"] for emotion in found["emotions"]]
    assert found["confident"]


def test_one_text_alone_and_among_63_others_gives_the_same_probabilities(address: str) -> None:
    texts = [f"{'I was very happy about it. ' * (number % 7)}Then came news number {number}, and I cried." for number in range(64)]
    together = emotions(address, {"input": texts, "scores": True})
    for index in (0, 13, 27, 63):
        [alone] = emotions(address, {"input": texts[index], "scores": True})
        assert together[index]["scores"] == pytest.approx(alone["scores"], abs=1e-4)


def test_the_committed_model_is_small(root: Path) -> None:
    manifest = read_manifest(root / "model_repository")
    assert manifest.precision == "int8"
    assert manifest.model_path.stat().st_size <= 25_000_000


def test_a_huge_word_and_odd_characters_are_answered(address: str) -> None:
    found = emotions(address, {"input": ["x" * 200_000, "\x00", "\u200b\u202e", "😭" * 5000, "ﷺ" * 300]})
    assert [entry["truncated"] for entry in found[:3]] == [False, False, False]
    assert all(entry["emotions"] for entry in found)


def test_sigterm_lets_a_running_request_finish(root: Path) -> None:
    body = b'{"input": [' + b",".join([b'"' + b"a long day " * 30 + b'"'] * 200) + b"]}"
    with start(root) as process:
        answer = post_and_terminate(process, body)
        assert process.wait(20) == 0
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b'"index"') == 200


def post_and_terminate(process: subprocess.Popen[str], body: bytes) -> bytes:
    """Send a request, ask the server to stop while it computes, and return all that it answers."""
    host, port = listening_address(process).removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST /v1/emotions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def refused(root: Path, **settings: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server that ends by itself; returns it and what it said."""
    with start(root, **settings) as process:
        try:
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()  # one that serves would be waited for without end
    return process, stderr


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"EMPATHETIC_MODEL_REPOSITORY": "/nowhere"}, "manifest.json"),
        ({"EMPATHETIC_PORT": "ninety"}, "EMPATHETIC_PORT"),
        ({"EMPATHETIC_CLASSIFIER": "magic"}, "EMPATHETIC_CLASSIFIER"),
    ],
)
def test_wrong_settings_stop_the_start_with_one_line(root: Path, settings: dict[str, str], complaint: str) -> None:
    process, stderr = refused(root, **settings)
    assert process.returncode == 2
    assert complaint in stderr
    assert len(stderr.splitlines()) == 1


def test_a_changed_model_is_not_served(root: Path, tmp_path: Path) -> None:
    model = build_artifact(tmp_path) / "emotion_classifier" / "1" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    process, stderr = refused(root, EMPATHETIC_MODEL_REPOSITORY=str(tmp_path))
    assert process.returncode == 2
    assert "changed since the export" in stderr


def test_a_taken_port_is_said_in_the_log_and_ends_with_an_error(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process, stderr = refused(root, EMPATHETIC_PORT=str(taken.getsockname()[1]))
    assert process.returncode != 0
    assert "address already in use" in stderr


def test_the_page_is_opened_without_writing_the_stubs_of_gradio(root: Path) -> None:
    opening = """
import ast, asyncio, inspect
ast.get_source_segment = None  # Gradio reads by it what it writes into stubs
from empathetic_server import Settings, create_app
page = create_app(Settings(model_repository="model_repository", sessions="memory://")).state.page
asyncio.run(page.open())
import gradio
assert inspect.getfile(gradio.Textbox).endswith("textbox.py")
"""
    opened = subprocess.run([sys.executable, "-c", opening], check=False, cwd=root, timeout=120, capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
