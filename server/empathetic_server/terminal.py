"""Talk with Mira in a terminal: `empathetic-chat`, or `empathetic-chat --url ws://HOST:PORT/v1/chat/ws`.

A client like any other: it knows the wire contract and nothing of the server. When the connection is lost it comes back by itself,
asks for the frames that it missed, and sends again what was not acknowledged. A server with API keys takes one from EMPATHETIC_API_KEY:
on the command line others could read it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator
from typing import Any

from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

# Longer waits would only keep a person waiting: one client is no load.
_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 4.0)
_HELP = "Ctrl-C stops a reply. /again asks for another reply, /quit or Ctrl-D ends."


class ServerError(Exception):
    """The server refuses what was asked; the message is its own."""


class Conversation:
    """One session over as many connections as it takes.

    Args:
        url: the WebSocket's address.
        session_id: an earlier session to go on with.
        temporary: have a new session kept in the server's memory alone.
        api_key: what the server asks for, if it has keys.
    """

    def __init__(self, url: str, *, session_id: str | None = None, temporary: bool = False, api_key: str | None = None) -> None:
        self.session_id = session_id
        self.ready: dict[str, Any] = {}
        self.reconnects = 0
        self._url = url
        self._temporary = temporary
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._last_seq: int | None = None
        self._socket: ClientConnection | None = None

    async def open(self) -> None:
        """Connect and say hello; tries again for some seconds.

        Raises:
            ServerError: the session does not exist, the key is not valid, or the server cannot be reached.
        """
        for delay_s in (*_DELAYS_S, None):
            try:
                self._socket = await connect(self._url, additional_headers=self._headers, compression=None)
                await self._hello(self._socket)
            except (OSError, InvalidHandshake, ConnectionClosed) as exc:
                if isinstance(exc, InvalidStatus) and exc.response.status_code in (401, 403):
                    raise ServerError("the server wants a valid API key, in EMPATHETIC_API_KEY") from exc
                if delay_s is None:
                    raise ServerError(f"{self._url} cannot be reached") from exc
                await asyncio.sleep(delay_s)
            else:
                return

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()

    async def ask(self, **frame: Any) -> AsyncIterator[dict[str, Any]]:
        """Send a frame that begins a turn, and yield the server's frames until the turn is done.

        Raises:
            ServerError: the server refuses it, or cannot be reached any more.
        """
        text = json.dumps(frame)
        is_acknowledged = False
        pending: str | None = text
        while True:
            try:
                if pending is not None:
                    await self._send(pending)
                    pending = None
                received = await self._receive()
            except (ConnectionClosed, OSError):
                await self.open()
                self.reconnects += 1
                # A message is safe to send again: the server knows its `client_id`. Other requests are not.
                pending = text if not is_acknowledged and "client_id" in frame else None
                continue
            kind = received["type"]
            if kind == "error" and not (is_acknowledged and received["error"]["code"] == "backend_unavailable"):
                raise ServerError(received["error"]["message"])  # else the turn is interrupted, and goes on by itself
            if kind == "resumed" and not received["complete"] and is_acknowledged and (reply := await self._stored_reply()):
                received, kind = reply, "done"
            if kind == "ack":
                is_acknowledged = True
            yield received
            if kind == "done":
                return

    async def stop(self) -> None:
        """Have the running reply stopped; when the connection is lost there is nothing to stop."""
        with contextlib.suppress(ConnectionClosed):
            await self._send('{"type": "stop"}')

    async def _hello(self, socket: ClientConnection) -> None:
        hello: dict[str, Any] = {"type": "hello"}
        if self.session_id is None:
            hello["temporary"] = self._temporary
        else:
            hello["session_id"] = self.session_id
            if self._last_seq is not None:
                hello["last_seq"] = self._last_seq
        await socket.send(json.dumps(hello))
        ready = json.loads(await socket.recv())
        if ready["type"] == "error":
            raise ServerError(ready["error"]["message"])
        self.ready = ready
        self.session_id = ready["session_id"]
        if self._last_seq is None:
            self._last_seq = 0

    async def _send(self, text: str) -> None:
        assert self._socket is not None, "open comes first"  # noqa: S101  # a defect of the caller
        await self._socket.send(text)

    async def _receive(self) -> dict[str, Any]:
        assert self._socket is not None, "open comes first"  # noqa: S101  # as above
        frame: dict[str, Any] = json.loads(await self._socket.recv())
        self._last_seq = max(self._last_seq or 0, frame.get("seq", 0))
        return frame

    async def _stored_reply(self) -> dict[str, Any] | None:
        """Return the end of a turn whose frames are gone, from the stored conversation; None while it is still running."""
        scheme, rest = self._url.split("://", 1)
        host = rest.split("/", 1)[0]
        address = f"http{scheme[2:]}://{host}/v1/sessions/{urllib.parse.quote(self.session_id or '')}"
        request = urllib.request.Request(address, headers=self._headers)  # noqa: S310  # ws: or wss: became http: or https:

        def read() -> dict[str, Any]:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  # as above
                session: dict[str, Any] = json.load(response)
                return session

        last = (await asyncio.to_thread(read))["messages"][-1]
        if last["role"] != "assistant":
            return None
        return {"type": "done", "reply_id": last["message_id"], "reply": last["text"], "finish_reason": last["finish_reason"]}


async def talk(conversation: Conversation, console: Console) -> None:
    """Read lines and show replies until the input ends.

    Raises:
        ServerError: the server cannot be reached any more.
    """
    await conversation.open()
    console.print(f"[dim]{conversation.ready['disclosure']}\n{_HELP}[/dim]\n")
    if greeting := conversation.ready.get("greeting"):
        console.print(f"[bold]Mira:[/bold] {greeting}")
    last_reply = ""
    while True:
        try:
            line = await asyncio.to_thread(_read_line)
        except EOFError:
            return
        if line == "/quit":
            return
        if not line:
            continue
        if line == "/again":
            if not last_reply:
                console.print("[dim]there is no reply yet[/dim]")
                continue
            frame = {"type": "regenerate", "reply_id": last_reply}
        else:
            frame = {"type": "message", "text": line, "client_id": uuid.uuid4().hex}
        try:
            last_reply = await _show(conversation, console, frame)
        except ServerError as exc:
            console.print(f"[red]{exc}[/red]")


async def _show(conversation: Conversation, console: Console, frame: dict[str, Any]) -> str:
    """Show one turn as it comes, and return the reply's id."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C ends the program
        loop.add_signal_handler(signal.SIGINT, lambda: asyncio.ensure_future(conversation.stop()))
    shown = ""
    reply_id = ""
    reconnects = conversation.reconnects
    try:
        async for received in conversation.ask(**frame):
            if conversation.reconnects != reconnects:
                reconnects = conversation.reconnects
                console.print("\n[dim](the connection was lost; back again)[/dim]")
            match received["type"]:
                case "emotion":
                    found = ", ".join(f"{emotion['label']} {emotion['score']:.2f}" for emotion in received["emotions"])
                    console.print(f"[dim]({found})[/dim]")
                case "safety":
                    for resource in received["resources"]:
                        console.print(f"[bold]{resource['name']}: {resource['contact']}[/bold]")
                case "error":
                    console.print(f"\n[dim]({received['error']['message']})[/dim]")
                case "disclosure":
                    console.print(f"[dim]{received['text']}[/dim]")
                case "delta":
                    if received["reply_id"] != reply_id:  # the first piece; after a crash of the server, the first of another reply
                        reply_id, shown = received["reply_id"], ""
                        console.print("[bold]Mira:[/bold] ", end="")
                    shown += received["text"]
                    console.print(received["text"], end="", markup=False, highlight=False, soft_wrap=True)
                case "done":
                    reply_id = received["reply_id"]
                    console.print(received["reply"].removeprefix(shown), markup=False, highlight=False, soft_wrap=True)
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
    return reply_id


def _read_line() -> str:
    return input("You: " if sys.stdin.isatty() else "").strip()


def main() -> None:
    """Talk until the input ends. Exits with 1 when the server cannot be reached."""
    parser = argparse.ArgumentParser(prog="empathetic-chat", description=f"Talk with Mira in the terminal. {_HELP}")
    parser.add_argument("--url", default="ws://127.0.0.1:8080/v1/chat/ws", help="the server's WebSocket (default: %(default)s)")
    parser.add_argument("--session", metavar="ID", help="go on with an earlier conversation")
    parser.add_argument("--temporary", action="store_true", help="the conversation is never written to a disk")
    arguments = parser.parse_args()
    if not arguments.url.startswith(("ws://", "wss://")):
        parser.error("--url must begin with ws:// or wss://")
    conversation = Conversation(
        arguments.url, session_id=arguments.session, temporary=arguments.temporary, api_key=os.environ.get("EMPATHETIC_API_KEY")
    )
    console = Console(highlight=False)
    try:
        asyncio.run(_run(conversation, console))
    except ServerError as exc:
        sys.exit(f"empathetic-chat: error: {exc}")
    except KeyboardInterrupt:
        print()  # the prompt's line ends  # noqa: T201


async def _run(conversation: Conversation, console: Console) -> None:
    try:
        await talk(conversation, console)
    finally:
        await conversation.close()
        if conversation.session_id is not None:
            console.print(f"[dim]To go on later: empathetic-chat --session {conversation.session_id}[/dim]")


if __name__ == "__main__":
    main()
