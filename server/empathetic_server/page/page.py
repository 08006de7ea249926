"""The web page: Gradio's components around a `Conversation`. Each handler asks the service and shows what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.routes import App
from starlette.routing import Mount

from .. import persona
from . import rendering
from .conversation import Conversation, Memory
from .service import Service, ServiceError, Visitor

_HERE = Path(__file__).parent
CSS = (_HERE / "page.css").read_text(encoding="utf-8")
JS = (_HERE / "page.js").read_text(encoding="utf-8")
HEAD = '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
# System fonts: a theme's own would come from another host.
THEME = gr.themes.Soft(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])

_MAX_MESSAGE_CHARS = 8000
# What the browser keeps is the visitor's own; the encryption that Gradio wants only has to survive a restart.
_BROWSER_SECRET = "empathetic-ai"  # noqa: S105  # as above
_ACTIONS = "element.addEventListener('click', event => window.empatheticAction(event, trigger));"


# How the page looks, for `gr.mount_gradio_app` and `Blocks.launch` alike.
LOOK: dict[str, Any] = {"theme": THEME, "css": CSS, "js": JS, "head": HEAD, "footer_links": [], "max_file_size": 0, "ssr_mode": False}


class Page:
    """The page's components and what they do.

    Args:
        service: the chat service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        with gr.Blocks(title="EmpatheticAI", analytics_enabled=False, fill_width=True) as self.blocks:
            self.conversation = gr.State(Conversation())
            # Text, for Gradio mixes its own marks into the dictionaries that a generator yields.
            self.browser = gr.BrowserState("{}", storage_key="empathetic", secret=_BROWSER_SECRET)
            self._lay_out()
            self._connect()

    def _lay_out(self) -> None:
        gr.HTML(f"<h1>EmpatheticAI</h1><p id='disclosure'>{persona.DISCLOSURE}</p>", elem_id="heading")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=320, elem_id="talk"):
                self.banner = gr.HTML("", elem_id="banner")
                with gr.Column(elem_id="scroll"):
                    self.transcript = gr.HTML(
                        rendering.transcript(persona.GREETING, (), {}, busy=False), elem_id="transcript", js_on_load=_ACTIONS
                    )
                    self.live = gr.HTML("", elem_id="live")
                self.alert = gr.HTML("", elem_id="alert")
                self.hint = gr.HTML("", elem_id="hint")
                self.announcer = gr.HTML("", elem_id="announcer")
                with gr.Group(elem_id="composer"):
                    self.box = gr.Textbox(
                        label="Your message",
                        placeholder="Write what is on your mind. Enter sends, Shift+Enter begins a new line.",
                        lines=1,
                        max_lines=8,
                        max_length=_MAX_MESSAGE_CHARS,
                        interactive=False,
                        elem_id="message",
                    )
                    with gr.Row(elem_id="buttons"):
                        self.send = gr.Button("Send", variant="primary", elem_id="send", min_width=90, interactive=False)
                        self.stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=90, interactive=False)
                        self.cancel = gr.Button("Cancel the change", visible=False, elem_id="cancel", min_width=90)
            with gr.Column(scale=1, min_width=260, elem_id="side"):
                with gr.Group(visible=False, elem_id="access") as self.access:
                    self.key = gr.Textbox(label="API key", type="password", elem_id="key")
                    self.use_key = gr.Button("Use this key", elem_id="use-key")
                gr.HTML("<h2>Your mood</h2>")
                self.mood = gr.HTML(rendering.mood({}), elem_id="mood")
                self.name = gr.Textbox(label="What Mira calls you", max_length=60, elem_id="name")
                with gr.Row():
                    self.save_name = gr.Button("Save name", elem_id="save-name", size="sm", min_width=90)
                    self.forget_name = gr.Button("Forget name", elem_id="forget-name", size="sm", min_width=90)
                self.new = gr.Button("New conversation", elem_id="new", size="sm")
                self.temporary = gr.Button("New temporary conversation", elem_id="temporary", size="sm")
                with gr.Row():
                    self.as_markdown = gr.Button("Export as text", elem_id="as-markdown", size="sm", min_width=90)
                    self.as_json = gr.Button("Export as JSON", elem_id="as-json", size="sm", min_width=90)
                self.delete = gr.Button("Delete this conversation", variant="stop", elem_id="delete", size="sm")
                self.theme = gr.Button("Light or dark", elem_id="theme", size="sm")
                gr.HTML("<p><a href='/crisis-protocol' target='_blank' rel='noopener'>What happens in a crisis</a></p>")
        self.exported = gr.JSON(visible=False)

    def _connect(self) -> None:
        shown = [self.conversation, self.browser, self.banner, self.transcript, self.live, self.box, self.send, self.stop]
        shown += [self.alert, self.hint, self.announcer, self.cancel, self.mood, self.name, self.access]
        state = [self.conversation, self.browser]
        # Everybody's turn runs at once: the service decides how many it takes.
        at_once: dict[str, Any] = {"outputs": shown, "concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
        turns = [
            gr.on([self.send.click, self.box.submit], self._say, [self.box, *state], **at_once),
            self.transcript.retry(self._retry, state, **at_once),
            self.blocks.load(self._load, state, **at_once),
        ]
        self.stop.click(self._stop, state, **at_once)
        self.transcript.edit(self._edit, state, **at_once).then(None, js="() => window.empatheticFocus('message')")
        self.cancel.click(self._cancel, state, **at_once)
        self.transcript.like(self._rate, state, **at_once)
        self.save_name.click(self._rename, [self.name, *state], **at_once)
        self.forget_name.click(self._forget_name, state, **at_once)
        self.use_key.click(self._use_key, [self.key, *state], **at_once)
        self.new.click(self._renew, state, cancels=turns, **at_once)
        self.temporary.click(self._renew_temporary, state, cancels=turns, **at_once)
        self.delete.click(self._delete, state, cancels=turns, **at_once)
        exporting = {**at_once, "outputs": [*shown, self.exported]}
        for button, export in ((self.as_markdown, self._export_markdown), (self.as_json, self._export_json)):
            button.click(export, state, **exporting).then(None, self.exported, js="file => window.empatheticDownload(file)")
        self.theme.click(None, js="() => window.empatheticTheme()")

    # What a handler shows.

    def _show(self, conversation: Conversation, browser: str, error: str = "") -> dict[Any, Any]:
        """Return what every component shows of a conversation."""
        busy = conversation.reply is not None
        kept = None if conversation.temporary else conversation.session_id
        # A screen reader hears a reply once it is whole: word by word nobody could follow it.
        spoken = ""
        if busy:
            spoken = "Mira is writing."
        elif conversation.messages and conversation.messages[-1]["role"] == "assistant":
            spoken = f"Mira: {conversation.messages[-1]['text']}"
        hint = " ".join(
            text
            for text in (
                "This conversation is temporary: it is never written to a disk." if conversation.temporary else "",
                "You are changing an earlier message; what followed it will be dropped." if conversation.editing else "",
                conversation.notice,
            )
            if text
        )
        return {
            self.conversation: conversation,
            self.browser: Memory(kept, conversation.resources if kept else [], Memory.read(browser).api_key).to_json(),
            self.banner: rendering.banner(conversation.resources),
            self.transcript: rendering.transcript(persona.GREETING, conversation.messages, conversation.ratings, busy=busy),
            self.live: rendering.live_reply(conversation.reply) if conversation.reply is not None else "",
            self.alert: rendering.escape(error),
            self.hint: rendering.escape(hint),
            self.announcer: rendering.escape(spoken),
            self.send: gr.update(interactive=not busy),
            self.stop: gr.update(interactive=busy),
            self.cancel: gr.update(visible=conversation.editing is not None),
            self.mood: rendering.mood(conversation.trajectory),
            self.name: conversation.user_name or "",
        }

    def _fail(self, conversation: Conversation, browser: str, error: ServiceError) -> dict[Any, Any]:
        conversation.reply = None
        asks_key = {self.access: gr.update(visible=True)} if error.code == "unauthenticated" else {}
        return self._show(conversation, browser, f"{error.message[:1].upper()}{error.message[1:]}.") | asks_key

    # The handlers. Gradio finds out what is an event and what is a request by their annotations.

    async def _load(self, conversation: Conversation, browser: str, request: gr.Request) -> AsyncGenerator[dict[Any, Any], None]:
        """Show the conversation that this browser began, and the rest of a reply that is still being written."""
        visitor = _visitor(request, browser)
        # Until here nothing could be sent: it would have come into another conversation than the one that is about to be shown.
        ready = {self.box: gr.update(interactive=True)}
        try:
            await self._service.call(visitor, "GET", "/v1/models")  # asks for the key, where there are keys
            memory = Memory.read(browser)
            if memory.session_id is None:
                yield self._show(conversation, browser) | ready
                return
            conversation = Conversation(session_id=memory.session_id, resources=memory.resources)
            async with aclosing(self._follow(conversation, browser, conversation.resume(self._service, visitor))) as turn:
                async for shown in turn:
                    yield shown | ready
        except ServiceError as exc:
            if exc.code == "not_found":  # its time was over, or it was deleted elsewhere
                yield self._show(Conversation(), browser, "Your earlier conversation is no longer there.") | ready
            else:
                yield self._fail(conversation, browser, exc) | ready

    async def _say(self, text: str, conversation: Conversation, browser: str, request: gr.Request) -> AsyncGenerator[dict[Any, Any], None]:
        """Send what the person wrote; what the service does not accept goes back into the box."""
        visitor = _visitor(request, browser)
        if not text.strip() or conversation.reply is not None:
            yield {self.hint: "Mira is still writing: wait for her, or stop her." if text.strip() else ""}
            return
        said = len(conversation.messages)
        editing = conversation.editing
        try:
            await conversation.begin(self._service, visitor)
            yield {self.conversation: conversation, self.box: ""}
            async with aclosing(self._follow(conversation, browser, conversation.say(self._service, visitor, text))) as turn:
                async for shown in turn:
                    yield shown
        except ServiceError as exc:
            is_lost = conversation.editing == editing and len(conversation.messages) == said
            yield self._fail(conversation, browser, exc) | ({self.box: text} if is_lost else {})

    async def _retry(
        self, conversation: Conversation, browser: str, event: gr.EventData, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        asked = conversation.retry(self._service, _visitor(request, browser), event.id)
        try:
            async with aclosing(self._follow(conversation, browser, asked)) as turn:
                async for shown in turn:
                    yield shown
        except ServiceError as exc:
            yield self._fail(conversation, browser, exc)

    async def _follow(
        self, conversation: Conversation, browser: str, turn: AsyncGenerator[None, None]
    ) -> AsyncGenerator[dict[Any, Any], None]:
        """Show a turn as it goes on: words alone while there are words, everything when something else happens."""
        words = None
        async with aclosing(turn):
            async for _ in turn:
                is_word = words is not None and conversation.reply not in (None, words)
                words = conversation.reply
                yield {self.live: rendering.live_reply(words or "")} if is_word else self._show(conversation, browser)
        yield self._show(conversation, browser)

    async def _stop(self, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        try:
            await conversation.stop(self._service, _visitor(request, browser))
        except ServiceError as exc:
            return {self.alert: rendering.escape(exc.message)}
        return {self.alert: ""}

    async def _edit(self, conversation: Conversation, browser: str, event: gr.EventData) -> dict[Any, Any]:
        conversation.editing = event.id
        return self._show(conversation, browser) | {self.box: conversation.text_of(event.id)}

    async def _cancel(self, conversation: Conversation, browser: str) -> dict[Any, Any]:
        conversation.editing = None
        return self._show(conversation, browser) | {self.box: ""}

    async def _rate(self, conversation: Conversation, browser: str, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        return await self._change(
            conversation, browser, conversation.rate(self._service, _visitor(request, browser), event.id, event.rating)
        )

    async def _rename(self, name: str, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        visitor = _visitor(request, browser)
        return await self._change(conversation, browser, conversation.rename(self._service, visitor, name.strip() or None))

    async def _forget_name(self, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        return await self._rename("", conversation, browser, request)

    async def _change(self, conversation: Conversation, browser: str, change: Awaitable[None]) -> dict[Any, Any]:
        try:
            await change
        except ServiceError as exc:
            return self._fail(conversation, browser, exc)
        return self._show(conversation, browser)

    async def _use_key(
        self, key: str, conversation: Conversation, browser: str, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        """Keep the key in this browser and begin again with it."""
        async with aclosing(
            self._load(conversation, replace(Memory.read(browser), api_key=key.strip() or None).to_json(), request)
        ) as loading:
            async for shown in loading:
                yield {self.access: gr.update(visible=False)} | shown

    async def _renew(self, conversation: Conversation, browser: str) -> dict[Any, Any]:
        """Begin a new conversation; a reply that is being written goes on where it is."""
        return self._show(Conversation(), browser) | {self.box: ""}

    async def _renew_temporary(self, conversation: Conversation, browser: str) -> dict[Any, Any]:
        return self._show(Conversation(temporary=True), browser) | {self.box: ""}

    async def _delete(self, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        try:
            if conversation.session_id is not None:
                await self._service.call(_visitor(request, browser), "DELETE", conversation.path)
        except ServiceError as exc:
            return self._fail(conversation, browser, exc)
        return self._show(Conversation(notice="The conversation is deleted."), browser) | {self.box: ""}

    async def _export_markdown(self, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        return await self._export(conversation, browser, request, "markdown", "conversation.md")

    async def _export_json(self, conversation: Conversation, browser: str, request: gr.Request) -> dict[Any, Any]:
        return await self._export(conversation, browser, request, "json", "conversation.json")

    async def _export(self, conversation: Conversation, browser: str, request: gr.Request, wanted: str, name: str) -> dict[Any, Any]:
        """Hand the conversation to the browser, which saves it: no file of it is written here."""
        if conversation.session_id is None:
            return self._show(conversation, browser, "There is nothing to export yet.") | {self.exported: None}
        try:
            answer = await self._service.call(_visitor(request, browser), "GET", f"{conversation.path}/export?format={wanted}")
        except ServiceError as exc:
            return self._fail(conversation, browser, exc) | {self.exported: None}
        return self._show(conversation, browser) | {self.exported: {"name": name, "text": answer.text}}


def _visitor(request: gr.Request, browser: str) -> Visitor:
    return Visitor(request.client.host if request.client else "", Memory.read(browser).api_key)


def within(app: FastAPI, path: str) -> App:
    """Return the page of a service in this process as an application to be mounted under a path."""
    shell = FastAPI()
    gr.mount_gradio_app(shell, Page(Service(app)).blocks, path, show_error=False, **LOOK)
    page = shell.routes[-1]
    assert isinstance(page, Mount)  # noqa: S101  # what Gradio has just added
    assert isinstance(page.app, App)  # noqa: S101  # as above
    return page.app
