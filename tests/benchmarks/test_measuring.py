"""The loads and chats as their users run them, small: real servers on the committed model, a real Triton, a tiny model that writes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from empathetic_bench.samples import Round

pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai has no wheel here")

from tests.scripted_openai import ScriptedOpenAI, answers, refuses, scripted_openai  # after the skip
from tests.tiny_generator import build_generator

pytestmark = pytest.mark.slow


async def bench(root: Path, *arguments: str | Path, **variables: str) -> tuple[int | None, str]:
    """Run `empathetic-bench`; returns its exit status, and what it said."""
    paths = os.pathsep.join(str(root / folder) for folder in ("server", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": paths, "EMPATHETIC_SERVER_PYTHON": sys.executable, **variables}
    command = [sys.executable, "-m", "empathetic_bench", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def measured(root: Path, output: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Run a benchmark that succeeds; returns its result file, and what it said."""
    status, said = asyncio.run(bench(root, *arguments, "--output", output))
    assert status == 0, said[-3000:]
    assert str(output.parent) not in output.read_text()
    content: dict[str, Any] = json.loads(output.read_text())
    return content, said


def test_targets_are_measured_in_turn_on_the_same_texts(root: Path, tmp_path: Path) -> None:
    flags = ("--targets", "server,triton,server-triton", "--levels", "1,4", "--seconds", "0.5", "--rounds", "2", "--texts-per-request", "2")
    content, said = measured(root, tmp_path / "load.json", "load", "closed", *flags)
    assert set(content["parity_max_difference"]) == {"server", "triton", "server-triton"}
    assert all(difference <= 1e-4 for difference in content["parity_max_difference"].values())
    assert {(case["target"], case["level"]) for case in content["cases"]} == {
        (target, level) for target in ("server", "triton", "server-triton") for level in (1, 4)
    }
    for case in content["cases"]:
        assert len(case["rounds"]) == len(case["ratio"]) == 2
        for one, used in zip(case["rounds"], case["used"], strict=True):
            assert one["errors"] == 0
            assert len(one["latencies_ms"]) == one["texts"] / 2 > 0
            assert 0 < used["cpu_cores"] <= (os.cpu_count() or 1) + 0.5
            assert used["memory_mib"] > 50
            assert 0 <= used["queue_share"] <= 1
    in_turn = [line.split("  ")[1] for line in said.splitlines() if line.startswith("round ") and "4 clients" in line]
    assert in_turn == ["server", "triton", "server-triton"] * 2


@pytest.mark.parametrize(
    ("load", "level", "parts"),
    [
        ("open", 20, [""]),
        ("burst", 8, [""]),
        ("mixed", 10, ["idle", "under bulk", "bulk"]),
        ("impatient", 4, [""]),
    ],
)
def test_every_load_is_measured(root: Path, tmp_path: Path, load: str, level: int, parts: list[str]) -> None:
    flags = ("--levels", str(level), "--seconds", "1", "--rounds", "1", "--shapes", "tokens:8")
    content, _ = measured(root, tmp_path / "load.json", "load", load, *flags)
    assert [case["part"] for case in content["cases"]] == parts
    for case in content["cases"]:
        one = Round(**case["rounds"][0])
        assert (one.errors, one.abandoned > 0) == (0, load == "impatient")
        assert one.latencies_ms


def test_an_open_loop_goes_no_further_than_where_its_target_falls_behind(root: Path, tmp_path: Path) -> None:
    flags = ("--levels", "100,100000", "--texts-per-request", "64", "--seconds", "0.3", "--rounds", "1")
    content, _ = measured(root, tmp_path / "load.json", "load", "open", *flags)
    assert [case["level"] for case in content["cases"]] == [100]


@pytest.fixture(scope="module")
def responder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_generator(tmp_path_factory.mktemp("responder") / "onnx", context_tokens=8192)


def chats(root: Path, output: Path, scripted: tuple[Any, ...], *arguments: str | Path) -> tuple[dict[str, Any], ScriptedOpenAI]:
    """Measure chats with a scripted engine; returns the cases by their names, and the engine."""

    async def run() -> ScriptedOpenAI:
        async with scripted_openai(*scripted) as engine:
            status, said = await bench(root, "chat", "--engine", engine.url, "--rounds", "1", *arguments, "--output", output)
            assert status == 0, said[-3000:]
            return engine

    engine = asyncio.run(run())
    return {case["name"]: case for case in json.loads(output.read_text())["cases"]}, engine


def test_chats_are_measured_with_every_generator_over_every_way_in(root: Path, responder: Path, tmp_path: Path) -> None:
    pieces = answers("Hello", " there", ", friend.")
    cases, engine = chats(root, tmp_path / "chat.json", (pieces,), "--turns", "5", "--responder", responder)
    ways = [f"{generator}, {way}" for generator in ("written", "embedded", "vllm") for way in ("ws", "sse", "openai")]
    assert list(cases) == ["engine alone", *ways]
    for name, case in cases.items():
        assert case["errors"] == 0
        assert len(case["first_ms"]["raw"]) == len(case["end_ms"]["raw"]) == 5
        assert 0 < case["first_ms"]["p50"] <= case["end_ms"]["p50"]
        assert (len(case["classify_ms"]["raw"]), len(case["overhead_ms"])) == (0 if name == "engine alone" else 5, 1)
    assert [name for name in cases if cases[name]["overhead_ms"] == [None]] == ["engine alone"]
    # "Hello" may be shown as soon as the next word begins; of engines that are not asked alone nobody knows.
    assert {name for name, case in cases.items() if case["held_ms"] != [None]} == {f"vllm, {way}" for way in ("ws", "sse", "openai")}
    # The engine alone is asked what the server asks it: a request for each of the five messages, again and again.
    assert len({json.dumps(body, sort_keys=True) for body in engine.asked}) == 5
    # To learn them; then alone, and over three ways with the engine alone beside each reply; three to warm up.
    assert len(engine.asked) == 5 + (3 + 5) + 3 * 2 * (3 + 5)


def test_an_engine_that_fails_is_an_error_and_no_fast_reply(root: Path, tmp_path: Path) -> None:
    cases, _ = chats(root, tmp_path / "chat.json", (refuses(500),), "--turns", "3", "--generators", "vllm", "--ways", "ws")
    assert {name: (case["errors"], case["first_ms"]["p50"]) for name, case in cases.items()} == {
        "engine alone": (3, None),
        "vllm, ws": (3, None),
    }


def test_any_engine_can_be_measured_alone(root: Path, tmp_path: Path) -> None:
    cases, engine = chats(root, tmp_path / "chat.json", (answers("Hello", "."),), "--turns", "4", "--generators", "")
    assert list(cases) == ["engine alone"]
    assert engine.asked[0]["model"] == "scripted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("load", "closed", "--shapes", "nonsense"), "no shape is called nonsense"),
        (("load", "closed", "--shapes", "reddit"), "needs --data"),
        (("load", "closed", "--shapes", "tokens:2"), "at least 3 tokens"),
        (("load", "closed", "--targets", "sever"), "sever names no known kind of target"),
        (("load", "closed", "--targets", "infinity"), "infinity cannot be started"),
        (("load", "closed", "--targets", "http://127.0.0.1:1/v1/emotions"), "127.0.0.1:1"),
        (("chat", "--server-python", "nowhere/python"), "nowhere/python"),
        (("chat", "--engine", "http://127.0.0.1:1/v1", "--generators", ""), "127.0.0.1"),
        (("chat", "--generators", "sparrow"), "EMPATHETIC_GENERATOR = 'sparrow'"),
    ],
    ids=lambda value: "-".join(value[2:]).replace("/", "") if isinstance(value, tuple) else "",
)
def test_what_is_missing_is_said_in_a_line(root: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    output = tmp_path / "result.json"
    status, shown = asyncio.run(bench(root, *arguments, "--output", output, EMPATHETIC_INFINITY_PYTHON=""))
    assert status == 1
    assert "Traceback" not in shown
    assert said in shown
    assert shown.splitlines()[-1].startswith("empathetic-bench: error: ")
    assert not output.exists()
