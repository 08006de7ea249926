"""Reads and merges the compose files by the rules that Docker documents, as far as these files use them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

# Where one of these is in both files, the later one replaces the earlier one; other lists are joined.
_REPLACED = {"command", "entrypoint", "test"}
_RESET = object()


class _Loader(yaml.SafeLoader):
    """YAML with Compose's `!reset`."""


_Loader.add_constructor("!reset", lambda _loader, _node: _RESET)


def read_compose(*paths: Path) -> dict[str, Any]:
    """Return the merged files, variables not yet filled in."""
    merged: dict[str, Any] = {}
    for path in paths:
        loaded = yaml.load(path.read_text(), _Loader)  # noqa: S506  # a SafeLoader
        merged = _merge(merged, {key: value for key, value in loaded.items() if not key.startswith("x-")})
    return merged


def fill_in(value: Any, variables: dict[str, str]) -> Any:
    """Replace `${NAME}`, `${NAME:-default}` and `${NAME:?reason}`; raises KeyError for a variable that must be set."""
    if isinstance(value, dict):
        return {key: fill_in(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_in(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def filled(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if found["operator"] == ":-":
            return variables.get(found["name"]) or found["rest"]
        return variables[found["name"]]

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<rest>[^}]*))?\}", filled, value)


def _merge(earlier: Any, later: Any, key: str = "") -> Any:
    if isinstance(earlier, dict) and isinstance(later, dict):
        both = {name: _merge(earlier.get(name), value, name) for name, value in later.items()}
        return {name: value for name, value in {**earlier, **both}.items() if value is not _RESET}
    if isinstance(earlier, list) and isinstance(later, list) and key not in _REPLACED:
        return earlier + later
    return later
