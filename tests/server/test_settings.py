from __future__ import annotations

from pathlib import Path

import pytest
from empathetic_server import Settings
from empathetic_server.settings import settings_table
from pydantic import ValidationError


def test_the_readme_shows_every_setting(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert f"<!-- settings -->\n{settings_table()}\n<!-- /settings -->" in readme


def test_the_environment_overrides_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPATHETIC_PORT", "9001")
    assert Settings().port == 9001


def test_a_batch_has_the_tokens_that_suit_the_engine_unless_they_are_set() -> None:
    assert Settings(classifier="embedded").batch_tokens == 128
    assert Settings(classifier="triton").batch_tokens == 256
    assert Settings(classifier="triton", max_batch_tokens=4096).batch_tokens == 4096


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # that is what is tested
