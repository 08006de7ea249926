"""What a result file says of the machine and the software it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def describe(packages: tuple[str, ...]) -> dict[str, Any]:
    """Return command, processor, cores, memory, system, commit and package versions."""
    return {
        "command": _command(),
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "memory_gib": _memory_gib()},
        "system": f"{platform.system()} {platform.machine()}",
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }


def _command() -> str:
    """Return the command line; folders of this machine are nobody else's business."""
    return " ".join(["empathetic-bench", *("DIR" if Path(argument).is_absolute() else argument for argument in sys.argv[1:])])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f"{names[0] if names else platform.processor()} ({', '.join(known) or 'instruction sets unknown'})"


def _memory_gib() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError):  # not told by this system
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  # constant
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
