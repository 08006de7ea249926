"""Start vLLM's OpenAI server on a model's directory, with or without a GPU: `make vllm MODEL=DIR`.

Runs in an environment that has vLLM (`requirements/vllm.txt`: its build for processors). The name, the chat template, the limits and the
sampling defaults are the model's own: they come from its directory and stand nowhere else. A model whose manifest.json says that it reads
this project's notes is served as `empathetic-responder`, by which the server knows it. Flags that are not known here go to vLLM.
This process becomes the server, and what it starts ends with it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import re
import runpy
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESPONDER = ROOT / "models" / "responder" / "hf"
# The server knows by this name that a model reads notes and no instructions; only a model whose manifest says so is served under it.
NOTE_READER = "empathetic-responder"
NOTE_PROMPT = "note-1"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel end this process when its parent dies, by whatever signal: an engine without its server keeps its memory forever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Check what vLLM would complain of at length, and become its server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default=str(RESPONDER), help="directory of the model, or its name on the Hugging Face Hub")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8100, help="port to listen on")
    args, others = parser.parse_known_args()
    flags = [f"--model={args.model}", f"--host={args.host}", f"--port={args.port}", "--enable-request-id-headers"]
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    directory = Path(args.model)
    if directory.is_dir() or not _HUB_NAME.fullmatch(args.model):
        _check(directory)
        flags.append(f"--served-model-name={_name(directory)}")
        environment["HF_HUB_OFFLINE"] = "1"
    if not _has_gpu_build():
        flags.append("--enforce-eager")  # compiling takes minutes and a compiler
        environment["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GiB
    _check_port(args.host, args.port)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    sys.argv = [sys.argv[0], *flags, *others]
    os.register_at_fork(after_in_child=end_with_parent)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


def _check(directory: Path) -> None:
    """End with one line when a directory holds no chat model."""
    if not (directory / "config.json").is_file():
        sys.exit(f"run_vllm: {directory} holds no model; name one: make vllm MODEL=DIR")
    config = directory / "tokenizer_config.json"
    has_template = config.is_file() and "chat_template" in json.loads(config.read_text("utf-8"))
    if not has_template and not (directory / "chat_template.jinja").is_file():
        sys.exit(f"run_vllm: the model in {directory} has no chat template")


def _name(directory: Path) -> str:
    """Return what clients call the model: its directory's name; in models/NAME/hf, the folder above tells more."""
    manifest = directory / "manifest.json"
    prompt = json.loads(manifest.read_text("utf-8")).get("prompt") if manifest.is_file() else None
    if prompt == NOTE_PROMPT:
        return NOTE_READER
    if prompt is not None:
        sys.exit(f"run_vllm: the model in {directory} was made for prompts {prompt!r}, which this version of the server cannot build")
    directory = directory.resolve()
    return directory.parent.name if directory.name == "hf" else directory.name


def _has_gpu_build() -> bool:
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    if not installed & {"vllm", "vllm-cpu"}:
        sys.exit("run_vllm: this Python has no vLLM; EMPATHETIC_VLLM_PYTHON names one that has (Linux, Python 3.11 or newer)")
    return "vllm" in installed


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            sys.exit(f"run_vllm: cannot listen on {host}:{port}: {exc.strerror}")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # vLLM starts its engine as a fresh interpreter, which imports this script first
    end_with_parent()
