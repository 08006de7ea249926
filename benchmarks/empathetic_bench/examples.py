"""`empathetic-bench examples`: the answers of the committed model that the README shows, as they come over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from . import environment, report
from .server_process import running_server

FIRST = "I finally passed the exam, thank you for believing in me!"
SENTENCES = (
    "Thank you so much for your help!",
    "I miss my grandmother every single day.",
    "I can't believe he lied to me again, I'm furious.",
    "We are getting married in June and I couldn't be happier!",
    "I'm scared of what the doctor will say tomorrow.",
    "I'm so sorry, I should never have said that.",
    "That joke was hilarious, I can't stop laughing.",
    "The train leaves at nine from platform four.",
)


def run(model: Path, server_python: str, output: Path) -> dict[str, Any]:
    """Ask a server for the README's sentences, and write its answers down.

    Raises:
        OSError, RuntimeError: the server does not start or does not answer.
    """
    with running_server(server_python, EMPATHETIC_MODEL_REPOSITORY=str(model.parent)) as address:
        first, eight = asyncio.run(_ask(address))
    content = {
        "benchmark": "examples",
        **environment.describe(("onnxruntime", "tokenizers")),
        "model_sha256": json.loads((model / "manifest.json").read_text())["files"]["1/model.onnx"],
        "first": {"text": FIRST, "answer": first},
        "sentences": [{"text": text, "answer": answer} for text, answer in zip(SENTENCES, eight["data"], strict=True)],
    }
    report.write(output, content)
    return content


async def _ask(address: str) -> tuple[str, dict[str, Any]]:
    """Return the raw answer to the first sentence, and the decoded one to the eight."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.post(f"{address}/v1/emotions", json={"input": FIRST}) as response:
            first = await response.text()
        async with session.post(f"{address}/v1/emotions", json={"input": SENTENCES}) as response:
            eight: dict[str, Any] = await response.json()
    return first, eight
