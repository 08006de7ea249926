"""The page as a person uses it, in a real browser."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from empathetic_server import Settings
from playwright.async_api import Browser, expect
from pydantic import SecretStr

from tests.browser.visiting import DESKTOP, PHONE, Visit, visiting
from tests.server.chatting import REPLY, SPOKEN, FakeGenerator, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DANGER = "I want to kill myself"
KEY = "emp_key-of-the-page-0123456789"


def gated(piece: int = 2) -> FakeGenerator:
    """A generator that waits before a piece until the test lets it go on."""
    return FakeGenerator(gates={piece: asyncio.Event()})


async def test_a_reply_arrives_word_by_word(browser: Browser) -> None:
    generator = gated()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address, path="/") as visit:
        await expect(visit.page.locator("#disclosure")).to_contain_text("You are talking with an AI")
        await expect(visit.transcript).to_contain_text("Hi, I'm Mira.")
        await visit.say("I had a long day")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        assert REPLY[-1] not in await visit.live.inner_text()
        await expect(visit.box).to_have_value("")
        await expect(visit.button("Stop")).to_be_enabled()
        await expect(visit.button("Send")).to_be_disabled()
        generator.gates[2].set()
        await visit.has_replies(2)
        await expect(visit.transcript).to_contain_text(SPOKEN)
        await expect(visit.button("Stop")).to_be_disabled()
        await expect(visit.page.locator("#announcer")).to_have_attribute("aria-live", "polite")
        await expect(visit.page.locator("#announcer")).to_contain_text(f"Mira: {SPOKEN}")


async def test_emotions_mood_and_table_with_the_committed_model(browser: Browser) -> None:
    async with running(page=True, classifier=None) as at, visiting(browser, at.address) as visit:
        await visit.say("I am so happy, thank you for everything!")
        await visit.has_replies(2)
        await visit.say("Now I feel sad and hopeless")
        await visit.has_replies(3)
        await expect(visit.transcript.locator(".chips").nth(0)).to_contain_text("gratitude")
        await expect(visit.transcript.locator(".chips").nth(1)).to_contain_text("sadness")
        await expect(visit.page.get_by_role("img", name="Valence of the last 2 messages")).to_be_visible()
        await visit.page.get_by_text("Show as a table").click()
        rows = visit.page.locator("#mood tbody tr")
        await expect(rows).to_have_count(2)
        assert float(await rows.nth(0).locator("td").nth(2).inner_text()) > 0
        assert float(await rows.nth(1).locator("td").nth(2).inner_text()) < 0


async def test_stop_stops_the_engine_and_keeps_what_was_shown(browser: Browser) -> None:
    generator = gated()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address) as visit:
        await visit.say("I had a long day")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        await visit.button("Stop").click()
        await asyncio.wait_for(generator.aborted.wait(), 10)
        await visit.has_replies(2)
        await expect(visit.transcript).to_contain_text("You stopped this reply.")


async def test_another_reply_replaces_the_last_one(browser: Browser) -> None:
    generator = FakeGenerator()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address) as visit:
        await visit.say("I had a long day")
        await visit.has_replies(2)
        generator.pieces = ("Tell me ", "more about it.")
        await visit.button("Ask for another reply").click()
        await expect(visit.transcript).to_contain_text("Tell me more about it.")
        await visit.has_replies(2)
        assert SPOKEN not in await visit.transcript.inner_text()


async def test_a_message_can_be_changed_or_left_as_it_was(browser: Browser) -> None:
    async with running(page=True, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        for number, text in enumerate(("the first one", "the second one"), start=2):
            await visit.say(text)
            await visit.has_replies(number)
        edit = visit.button("Edit this message").first
        await edit.click()
        await expect(visit.box).to_have_value("the first one")
        await expect(visit.page.locator("#hint")).to_contain_text("what followed it will be dropped")
        await visit.button("Cancel the change").click()
        await expect(visit.box).to_have_value("")
        await edit.click()
        await expect(visit.box).to_have_value("the first one")
        await visit.say("another first one")
        await expect(visit.transcript.locator(".message.user")).to_have_count(1)
        await visit.has_replies(2)
        await expect(visit.transcript).to_contain_text("another first one")


async def test_a_reload_in_the_middle_of_a_reply_shows_all_of_it_once(browser: Browser) -> None:
    generator = gated()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address) as visit:
        await visit.say("I had a long day")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        await visit.reload()
        await expect(visit.transcript).to_contain_text("I had a long day")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        generator.gates[2].set()
        await visit.has_replies(2)
        assert (await visit.transcript.inner_text()).count(SPOKEN) == 1
        assert len(generator.asked) == 1
        await visit.reload()
        await visit.has_replies(2)
        await expect(visit.transcript.locator(".chips")).to_have_count(1)


async def test_crisis_contacts_stay(browser: Browser) -> None:
    async with running(page=True, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        banner = visit.page.get_by_role("region", name="People who can help now")
        await expect(banner).to_have_count(0)
        await visit.say(DANGER)
        await expect(banner).to_contain_text("findahelpline.com")
        await visit.has_replies(2)
        await visit.say("thank you")
        await visit.has_replies(3)
        await expect(banner).to_be_visible()
        await visit.reload()
        await expect(banner).to_contain_text("findahelpline.com")
        await visit.button("New conversation").click()
        await expect(banner).to_have_count(0)


async def test_a_rating_is_stored(browser: Browser) -> None:
    async with running(page=True, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        await visit.say("I had a long day")
        await visit.has_replies(2)
        helpful, unhelpful = visit.button("This reply is helpful"), visit.button("This reply is not helpful")
        await helpful.click()
        await expect(helpful).to_have_attribute("aria-pressed", "true")
        await unhelpful.click()
        await expect(helpful).to_have_attribute("aria-pressed", "false")
        await visit.reload()
        await expect(unhelpful).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(("button", "name"), [("Export as text", "conversation.md"), ("Export as JSON", "conversation.json")])
async def test_the_conversation_can_be_saved(browser: Browser, button: str, name: str) -> None:
    async with running(page=True, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        await visit.button(button).click()
        await expect(visit.page.get_by_role("alert")).to_contain_text("nothing to export")
        await visit.say("I had a long day")
        await visit.has_replies(2)
        async with visit.page.expect_download() as download:
            await visit.button(button).click()
        saved = await download.value
        text = Path(await saved.path()).read_text(encoding="utf-8")
    assert saved.suggested_filename == name
    assert "I had a long day" in text
    assert SPOKEN in text


async def test_a_temporary_conversation_leaves_nothing_behind(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(port=0, sessions=f"sqlite:///{tmp_path}/sessions.db", drain_seconds=5)
    async with running(settings=settings, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        await visit.button("New temporary conversation").click()
        await expect(visit.page.locator("#hint")).to_contain_text("never written to a disk")
        await visit.say("nobody may keep this")
        await visit.has_replies(2)
        await visit.reload()
        await visit.has_replies(1)
        assert "nobody may keep this" not in await visit.transcript.inner_text()
    assert not any(b"nobody may keep this" in file.read_bytes() for file in tmp_path.iterdir())


async def test_the_name_is_shown_and_erased(browser: Browser) -> None:
    async with running(page=True, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        name = visit.page.get_by_label("What Mira calls you")
        await visit.say("My name is Ana")
        await visit.has_replies(2)
        await expect(name).to_have_value("Ana")
        await visit.button("Forget name").click()
        await expect(name).to_have_value("")
        await name.fill("Bo")
        await visit.button("Save name").click()
        await visit.reload()
        await expect(name).to_have_value("Bo")
        await name.fill("<b>1</b>")
        await visit.button("Save name").click()
        await expect(visit.page.get_by_role("alert")).not_to_be_empty()


async def test_a_new_conversation_while_a_reply_is_written_and_deletion(browser: Browser) -> None:
    generator = gated()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address) as visit:
        await visit.say("the old one")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        await visit.button("New conversation").click()
        await visit.has_replies(1)
        generator.gates[2].set()
        await visit.say("the new one")
        await visit.has_replies(2)
        assert "the old one" not in await visit.transcript.inner_text()
        await visit.button("Delete this conversation").click()
        await expect(visit.page.locator("#hint")).to_contain_text("The conversation is deleted.")
        await visit.reload()
        await visit.has_replies(1)
        assert "the new one" not in await visit.transcript.inner_text()


HOSTILE = "<img src=x onerror=alert(1)> ![i](https://evil.example/i.png) {{value}} ${alert(2)} <script>alert(3)</script> `</li>"


async def test_what_a_person_or_a_model_writes_is_shown_as_it_is(browser: Browser) -> None:
    async with running(page=True, generators=[FakeGenerator(pieces=(HOSTILE,))]) as at, visiting(browser, at.address) as visit:
        visit.page.on("dialog", lambda dialog: visit.errors.append(dialog.message))
        await visit.say(HOSTILE)
        await visit.has_replies(2)
        await expect(visit.transcript.locator(".message.user .text")).to_have_text(HOSTILE)
        assert await visit.transcript.locator("img, script").count() == 0
        await visit.reload()
        await expect(visit.transcript.locator(".message.user .text")).to_have_text(HOSTILE)


async def test_a_message_that_is_refused_goes_back_into_the_box(browser: Browser) -> None:
    settings = Settings(port=0, sessions="memory://", drain_seconds=5, max_turns=1)
    generator = gated(0)
    async with running(settings=settings, generators=[generator]) as at, visiting(browser, at.address) as visit:
        asked = asyncio.create_task(at.http.post("/v1/chat", json={"message": "hello"}))
        await generator.waiting.wait()
        await visit.say("I had a long day")
        await expect(visit.page.get_by_role("alert")).to_contain_text("Too many replies")
        await expect(visit.box).to_have_value("I had a long day")
        generator.gates[0].set()
        await asked
        await visit.box.press("Enter")
        await visit.has_replies(2)


async def test_the_page_asks_for_the_key_and_keeps_it(browser: Browser) -> None:
    settings = Settings(port=0, sessions="memory://", drain_seconds=5, api_keys=SecretStr(KEY))
    async with running(settings=settings, generators=[FakeGenerator()]) as at, visiting(browser, at.address) as visit:
        key = visit.page.get_by_label("API key")
        await key.press_sequentially("wrong", delay=30)  # at once, it could be there before Gradio has set up the field
        await visit.button("Use this key").click()
        await expect(visit.page.get_by_role("alert")).to_contain_text("not valid")
        await key.fill(KEY)
        await visit.button("Use this key").click()
        await expect(key).to_have_count(0)
        await visit.say("I had a long day")
        await visit.has_replies(2)
        await visit.reload()
        await visit.has_replies(2)
        await expect(key).to_have_count(0)


async def test_it_can_be_used_by_the_keyboard_alone(browser: Browser) -> None:
    generator = gated()
    async with running(page=True, generators=[generator]) as at, visiting(browser, at.address) as visit:
        await expect(visit.box).to_be_focused()
        await visit.page.keyboard.type("first line")
        await visit.page.keyboard.press("Shift+Enter")
        await visit.page.keyboard.type("second line")
        await visit.page.keyboard.press("Enter")
        await expect(visit.live).to_contain_text(REPLY[0].strip())
        assert "first line\nsecond line" in await visit.transcript.inner_text()
        await tab_to(visit, "Stop")
        await visit.page.keyboard.press("Enter")
        await expect(visit.transcript).to_contain_text("You stopped this reply.")
        generator.gates[2].set()
        await visit.page.locator("#scroll").focus()
        await tab_to(visit, "Ask for another reply")
        await visit.page.keyboard.press("Enter")
        await expect(visit.transcript).to_contain_text(SPOKEN)
        await tab_to(visit, "New conversation")
        await visit.page.keyboard.press("Space")
        await visit.has_replies(1)


async def tab_to(visit: Visit, name: str) -> None:
    """Press Tab until a button has the focus."""
    for _ in range(30):
        await visit.page.keyboard.press("Tab")
        if await visit.button(name).evaluate("button => button === document.activeElement"):
            return
    raise AssertionError(f"{name} cannot be reached by Tab")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_it_is_accessible_and_fits(browser: Browser, viewport: Any, theme: Any) -> None:
    async with running(page=True, classifier=None) as at, visiting(browser, at.address, viewport=viewport, color_scheme=theme) as visit:
        await expect(visit.page.locator("body")).to_have_class(re.compile("dark") if theme == "dark" else re.compile("^(?!.*dark)"))
        await visit.say("I feel so sad, my best friend is moving away.")
        await visit.has_replies(2)
        await visit.say("We had one last dinner, and I laughed more than I have in weeks!")
        await visit.has_replies(3)
        await picture(visit, f"page-{'phone' if viewport == PHONE else 'desktop'}-{theme}")
        await visit.say(DANGER)
        await visit.has_replies(4)
        await picture(visit, f"crisis-{'phone' if viewport == PHONE else 'desktop'}-{theme}")
        width = await visit.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= viewport["width"]
        found = await Axe().run(visit.page)
        serious = [violation for violation in found.response["violations"] if violation["impact"] in ("serious", "critical")]
        assert serious == [], [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in serious]


async def picture(visit: Visit, name: str) -> None:
    """Keep what is seen, for people to look at."""
    if folder := os.environ.get("EMPATHETIC_SCREENSHOTS"):
        await visit.page.locator("#talk").evaluate("talk => innerWidth < 640 ? talk.scrollIntoView() : scrollTo(0, 0)")
        await visit.page.screenshot(path=f"{folder}/{name}.png")


async def test_the_chosen_colors_are_kept(browser: Browser) -> None:
    async with running(page=True) as at, visiting(browser, at.address, color_scheme="light") as visit:
        await visit.button("Light or dark").click()
        await expect(visit.page.locator("body")).to_have_class(re.compile("dark"))
        await visit.reload()
        await expect(visit.page.locator("body")).to_have_class(re.compile("dark"))


async def test_the_documentation_comes_from_here(browser: Browser) -> None:
    async with running(page=True) as at, visiting(browser, at.address, path="/docs") as visit:
        await expect(visit.page.get_by_text("/v1/emotions", exact=True).first).to_be_visible()


async def test_nothing_of_gradio_is_open_but_what_the_page_needs() -> None:
    async with running(page=True) as at:
        for method, path in (
            ("POST", "/ui/gradio_api/upload"),
            ("GET", "/ui/gradio_api/file=/etc/passwd"),
            ("GET", "/ui/gradio_api/proxy=https://example.org/"),
            ("GET", "/ui/gradio_api/info"),
            ("POST", "/ui/gradio_api/call/_say"),
            ("POST", "/ui/gradio_api/run/predict"),
            ("GET", "/ui/assets/../../../etc/passwd"),
            ("GET", "/ui/nothing"),
        ):
            assert (await at.http.request(method, path)).status_code == 404, path
        redirected = await at.http.get("/")
        assert (redirected.status_code, redirected.headers["location"]) == (307, "/ui/")
