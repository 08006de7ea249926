"""`empathetic-bench stop`: how soon a `stop` over the WebSocket has ended the work in vLLM, by vLLM's own count of running requests.

vLLM must be running already; the server is started for the measurement.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import aiohttp

from . import environment, report
from .samples import percentile
from .server_process import running_server

# What somebody writes who wants a long answer; a reply that ends by itself before it is stopped fails the trial.
PROMPT = "Please tell me a very long story about rain and wind."
_RUNNING = re.compile(r"^vllm:num_requests_running\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
# Asking more often would measure the asking: vLLM answers from the process that it is asked about.
_POLL_SECONDS = 0.005
_TRIAL_SECONDS = 10.0


def run(engine: str, server_python: str, trials: int, output: Path, prompt: str = PROMPT) -> dict[str, Any]:
    """Stop replies in the middle, and write down how long each took to end.

    Args:
        engine: vLLM's address, such as http://127.0.0.1:8100.
        server_python: interpreter that runs the server.
        trials: replies to stop.
        output: result file.
        prompt: what is said to the server.

    Raises:
        OSError, RuntimeError: something does not answer, or a reply has ended before it was stopped.
    """
    settings = {"EMPATHETIC_GENERATOR": "vllm", "EMPATHETIC_VLLM_URL": f"{engine}/v1", "EMPATHETIC_LOG_LEVEL": "warning"}
    with running_server(server_python, EMPATHETIC_PAGE="false", **settings) as address:
        described, measured = asyncio.run(_stop_often(address, engine, prompt, trials))
    content = {
        "benchmark": "stop",
        **environment.describe(("aiohttp",)),
        "engine": described,
        "trials": trials,
        "poll_ms": 1000 * _POLL_SECONDS,
        **{name: {"p50": percentile(values, 50), "p99": percentile(values, 99), "raw": values} for name, values in measured.items()},
    }
    report.write(output, content)
    return content


def summary(content: dict[str, Any]) -> str:
    """Return the result as a paragraph of Markdown."""
    engine, done, hardware = content["engine_ms"], content["done_ms"], content["hardware"]
    return (
        f"{content['trials']} replies of the model `{content['engine']['model']}` stopped over the WebSocket ({hardware['processor']}, "
        f"{hardware['cores']} cores; vLLM {content['engine']['version']}): vLLM counts none running after {engine['p50']:.0f} ms (p50) "
        f"and {engine['p99']:.0f} ms (p99), asked every {content['poll_ms']:.0f} ms; `done` comes after {done['p50']:.0f} ms and "
        f"{done['p99']:.0f} ms. Command: `{content['command']}`. "
        "Raw samples: [benchmarks/results/stop.json](../benchmarks/results/stop.json)."
    )


async def _stop_often(address: str, engine: str, prompt: str, trials: int) -> tuple[dict[str, str], dict[str, list[float]]]:
    """Return what vLLM says of itself, and the measured times."""
    measured: dict[str, list[float]] = {"engine_ms": [], "done_ms": []}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{engine}/version") as answer, session.get(f"{engine}/v1/models") as models:
            described = {"name": "vllm", "version": (await answer.json())["version"], "model": (await models.json())["data"][0]["id"]}
        for trial in range(trials + 1):
            engine_ms, done_ms = await asyncio.wait_for(_stop_once(session, address, engine, prompt), _TRIAL_SECONDS)
            if trial:  # the first one warms up
                measured["engine_ms"].append(round(engine_ms, 3))
                measured["done_ms"].append(round(done_ms, 3))
    return described, measured


async def _stop_once(session: aiohttp.ClientSession, address: str, engine: str, prompt: str) -> tuple[float, float]:
    """Return the milliseconds from `stop` to vLLM's count of zero, and to `done`."""
    async with session.ws_connect(f"{address}/v1/chat/ws") as socket:
        await socket.send_json({"type": "hello", "temporary": True})
        await socket.send_json({"type": "message", "text": prompt, "client_id": "c"})
        await _until(socket, "delta")
        if await _running_requests(session, engine) != 1:
            raise RuntimeError("vLLM should be writing this reply, and no other")
        started = time.perf_counter()
        await socket.send_json({"type": "stop"})
        ended = asyncio.create_task(_until(socket, "done"))
        while await _running_requests(session, engine):  # noqa: ASYNC110  # the count is another process'
            await asyncio.sleep(_POLL_SECONDS)
        engine_ms = 1000 * (time.perf_counter() - started)
        done, at = await ended
        if done["finish_reason"] != "stopped":
            raise RuntimeError(f"the reply had ended before it was stopped: {done['finish_reason']}")
        return engine_ms, 1000 * (at - started)


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> tuple[dict[str, Any], float]:
    """Return the next frame of a type, and when it came; raises RuntimeError."""
    while True:
        frame: dict[str, Any] = await socket.receive_json()
        if frame["type"] == kind:
            return frame, time.perf_counter()
        if frame["type"] in ("done", "error"):
            raise RuntimeError(f"the turn ended too early: {frame}")


async def _running_requests(session: aiohttp.ClientSession, engine: str) -> int:
    async with session.get(f"{engine}/metrics") as response:
        counts = _RUNNING.findall(await response.text())
    if not counts:
        raise RuntimeError(f"{engine}/metrics has no vllm:num_requests_running")
    return round(sum(map(float, counts)))
