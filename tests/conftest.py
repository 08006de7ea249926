"""Rules for every test: in CI nothing is skipped but what needs a GPU or the Hub."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Whether a change passes CI must not hang on the luck of the draw; elsewhere, each run looks at other examples.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure when CI=true, unless the test is marked `gpu` or `hub`."""
    report = yield
    allowed = item.get_closest_marker("gpu") or item.get_closest_marker("hub")
    if report.skipped and os.environ.get("CI") == "true" and not allowed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder named by EMPATHETIC_DATA, which holds goemotions/."""
    value = os.environ.get("EMPATHETIC_DATA")
    if not value:
        pytest.skip("EMPATHETIC_DATA is not set: it names the folder that holds goemotions/")
    return Path(value).resolve()
