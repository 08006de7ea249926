"""A real Chromium, and the product's server in the test's own event loop."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.server.conftest import anyio_backend  # noqa: F401  # the same fixture

_BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, without a window."""
    path = next((found for name in _BINARIES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    async with async_playwright() as playwright:
        # Containers run as root, where Chromium has no sandbox.
        opened = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        await opened.close()
