"""A visitor of the page, who notices every request to another host and every error in the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Visit:
    """An open page and what happened on it."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Your message")

    @property
    def transcript(self) -> Locator:
        return self.page.locator("#transcript")

    @property
    def live(self) -> Locator:
        return self.page.locator("#live-reply")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def say(self, text: str) -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def has_replies(self, count: int) -> None:
        """Wait until so many replies stand in the transcript, the greeting included, and none is being written."""
        await expect(self.transcript.locator(".message.assistant")).to_have_count(count)
        await expect(self.live).to_have_count(0)

    async def reload(self) -> None:
        before = len(self.errors)
        await self.page.reload()
        await expect(self.box).to_be_visible()
        # Gradio tells the console of the requests that the reload has cut off.
        self.errors[before:] = [error for error in self.errors[before:] if "Abort" not in error and "Connection errored out" not in error]


@asynccontextmanager
async def visiting(browser: Browser, address: str, *, path: str = "/ui/", **context: Any) -> AsyncIterator[Visit]:
    """Open the page in a fresh profile; at the end nothing may have gone to another host, and nothing may have failed."""
    context.setdefault("viewport", DESKTOP)
    profile: BrowserContext = await browser.new_context(**context)
    page = await profile.new_page()
    page.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    visit = Visit(page, address)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("console", lambda message: visit.errors.append(f"{message.text} {message.location}") if message.type == "error" else None)
    answer = await page.goto(address + path)
    assert answer is not None
    assert answer.ok, answer.status
    try:
        yield visit
    finally:
        await profile.close()
    hosts = {urlsplit(url).netloc for url in visit.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {address.split("://")[1]}, hosts
    assert visit.errors == [], visit.errors
