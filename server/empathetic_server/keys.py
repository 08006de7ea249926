"""API keys: reading, checking and making them. `empathetic-key NAME` makes one. Knows no HTTP.

A key has 256 random bits, so its SHA-256 cannot be guessed back and needs neither salt nor stretching.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import SettingsError

logger = logging.getLogger(__name__)

_FILE = "file://"
_HASH = re.compile(r"sha256:([0-9a-f]{64})(?:\s+(\S{1,64}))?")
# Shorter ones can be guessed by who has the time.
_SHORTEST_CHARS = 16


class Keyring:
    """The keys that may come in; only their hashes are kept.

    Args:
        source: keys or `sha256:HEX [NAME]` entries, divided by commas; or `file:///PATH` of such entries, one a line, which is read again
            when it changes, so that removing a line revokes its key at once.

    Raises:
        SettingsError: an entry is malformed, or the file cannot be read.
    """

    def __init__(self, source: str) -> None:
        self._file = Path(source.removeprefix(_FILE)) if source.startswith(_FILE) else None
        self._read_at = self._changed_at() if self._file else 0
        self._hashes = self._read() if self._file else _entries(source.split(","))
        if not self._hashes and self._file is None:
            raise SettingsError("EMPATHETIC_API_KEYS names no key")

    def owner(self, key: str) -> str | None:
        """Return the name of a key's owner, or None when it is none of ours. Takes as long for a wrong key as for a right one."""
        if self._file is not None:
            self._refresh()
        presented = _hash(key)
        found = None
        for digest, name in self._hashes.items():
            if hmac.compare_digest(digest, presented):
                found = name
        return found

    def is_owner(self, name: str) -> bool:
        """Tell whether a key of this owner is still valid."""
        if self._file is not None:
            self._refresh()
        return name in self._hashes.values()

    def _refresh(self) -> None:
        """Read the file again when it has changed; while it cannot be read, the keys that were read last hold."""
        try:
            changed_at = self._changed_at()
            if changed_at != self._read_at:
                self._read_at = changed_at
                self._hashes = self._read()
        except SettingsError as exc:
            logger.warning("the API keys stay as they were: %s", exc)

    def _changed_at(self) -> int:
        assert self._file is not None  # noqa: S101  # only asked where there is one
        try:
            return self._file.stat().st_mtime_ns
        except OSError as exc:
            raise SettingsError(f"EMPATHETIC_API_KEYS: {self._file}: {exc.strerror}") from exc

    def _read(self) -> Mapping[str, str]:
        assert self._file is not None  # noqa: S101  # as above
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"EMPATHETIC_API_KEYS: {self._file} cannot be read") from exc
        return _entries(line for line in lines if not line.lstrip().startswith("#"))


def _entries(texts: Iterable[str]) -> dict[str, str]:
    """Return names by hash. A key without a name is named after its hash, so that what it owns stays its own."""
    found: dict[str, str] = {}
    for text in texts:
        entry = text.strip()
        if not entry:
            continue
        if entry.startswith("sha256:"):
            match = _HASH.fullmatch(entry)
            if match is None:
                raise SettingsError("EMPATHETIC_API_KEYS: an entry must be sha256:, 64 hexadecimal digits, and perhaps a name")
            digest, name = match.group(1), match.group(2)
        else:
            if len(entry) < _SHORTEST_CHARS:
                logger.warning("an API key has under %d characters and can be guessed; `empathetic-key` makes good ones", _SHORTEST_CHARS)
            digest, name = _hash(entry), None
        found[digest] = name or digest[:12]
    return found


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def main() -> None:
    """Make a key, print it and the entry that lets it in."""
    parser = argparse.ArgumentParser(prog="empathetic-key", description="Make an API key. The key itself is stored nowhere: keep it.")
    parser.add_argument("name", nargs="?", default="", help="whose it is: stands in the entry, so that you know which line to remove")
    name = parser.parse_args().name
    key = f"emp_{secrets.token_urlsafe(32)}"
    print(f"key:    {key}\nentry:  sha256:{_hash(key)} {name}".rstrip())  # noqa: T201  # a command prints


if __name__ == "__main__":
    main()
