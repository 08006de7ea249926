"""What one visitor sees: the conversation as the service's frames change it. Knows neither Gradio nor HTML."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .service import ConnectionLost, Service, ServiceError, Socket, Visitor


@dataclass(frozen=True, slots=True)
class Memory:
    """What the visitor's browser remembers of its conversation; for the server, anybody may have written it."""

    session_id: str | None = None
    resources: list[dict[str, str]] = field(default_factory=list)
    api_key: str | None = None

    @classmethod
    def read(cls, text: str) -> Memory:
        """Read what `to_json` wrote; what it cannot have written is forgotten."""
        try:
            known = json.loads(text)
            resources = [{name: str(found[name]) for name in ("name", "contact", "url")} for found in known["resources"]]
            return cls(_text(known["session_id"]), resources, _text(known["api_key"]))
        except (ValueError, TypeError, KeyError):
            return cls()

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({"session_id": self.session_id, "resources": self.resources, "api_key": self.api_key})


@dataclass
class Conversation:
    """A conversation and what the page shows of it.

    Attributes:
        session_id: None until the first message is sent.
        temporary: whether it is kept in the server's memory alone.
        messages: as in `GET /v1/sessions/{session_id}`.
        ratings: `up` or `down` by message id.
        resources: who can help; once named, they stay.
        trajectory: as in the contract.
        user_name: what the person is called.
        editing: the message that the person is changing.
        reply: the reply as far as it is written; None when none is being written.
        notice: what the service tells beside the conversation.
    """

    session_id: str | None = None
    temporary: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)
    ratings: dict[str, str] = field(default_factory=dict)
    resources: list[dict[str, str]] = field(default_factory=list)
    trajectory: dict[str, Any] = field(default_factory=dict)
    user_name: str | None = None
    editing: str | None = None
    reply: str | None = None
    notice: str = ""

    @property
    def path(self) -> str:
        """The session's path in the API."""
        return f"/v1/sessions/{quote(self.session_id or '', safe='~')}"

    def text_of(self, message_id: str) -> str:
        """Return a message's text, or nothing when there is no such message."""
        return next((message["text"] for message in self.messages if message["message_id"] == message_id), "")

    async def begin(self, service: Service, visitor: Visitor) -> None:
        """Begin a session if there is none yet; raises ServiceError."""
        if self.session_id is None:
            answer = await service.call(visitor, "POST", "/v1/sessions", {"temporary": self.temporary})
            self.session_id = answer.json()["session_id"]

    async def load(self, service: Service, visitor: Visitor) -> None:
        """Read what is stored; raises ServiceError."""
        stored = (await service.call(visitor, "GET", self.path)).json()
        self.messages = stored["messages"]
        self.trajectory = stored["trajectory"]
        self.user_name = stored["user_name"]
        exported = (await service.call(visitor, "GET", self.path + "/export?format=json")).json()
        self.ratings = {given["message_id"]: given["rating"] for given in exported["user_feedback"]}

    async def say(self, service: Service, visitor: Visitor, text: str) -> AsyncGenerator[None, None]:
        """Send a message, or the changed one, and follow the reply; yields when there is something new to show. Raises ServiceError."""
        frame: dict[str, Any] = {"type": "message", "text": text, "client_id": uuid.uuid4().hex}
        if self.editing is not None:
            frame = {"type": "edit", "message_id": self.editing, "text": text}
        async with service.socket(visitor, session_id=self.session_id) as (socket, _):
            await socket.send(**frame)
            async with aclosing(self._follow(socket, text)) as turn:
                async for _ in turn:
                    yield
        if self.user_name is None:  # they may have just said it
            self.user_name = (await service.call(visitor, "GET", self.path)).json()["user_name"]
            yield

    async def retry(self, service: Service, visitor: Visitor, reply_id: str) -> AsyncGenerator[None, None]:
        """Ask for another reply and follow it, as `say`."""
        async with service.socket(visitor, session_id=self.session_id) as (socket, _):
            await socket.send(type="regenerate", reply_id=reply_id)
            async with aclosing(self._follow(socket, None)) as turn:
                async for _ in turn:
                    yield

    async def resume(self, service: Service, visitor: Visitor) -> AsyncGenerator[None, None]:
        """Read what is stored, and follow the reply that is still being written, if there is one; as `say`."""
        await self.load(service, visitor)
        yield
        async with service.socket(visitor, session_id=self.session_id, last_seq=0) as (socket, _):
            missed = (await socket.receive())["replayed"]
            frames = [await socket.receive() for _ in range(missed)]
            begun = [index for index, frame in enumerate(frames) if frame["type"] == "ack" and not frame["duplicate"]]
            last = frames[begun[-1] :] if begun else []
            waits = bool(self.messages) and self.messages[-1]["role"] == "user"
            if waits or (last and last[-1]["type"] != "done"):
                async with aclosing(self._follow(socket, None, last)) as turn:
                    async for _ in turn:
                        yield

    async def stop(self, service: Service, visitor: Visitor) -> None:
        """Have the running reply stopped; raises ServiceError."""
        async with service.socket(visitor, session_id=self.session_id) as (socket, _):
            await socket.send(type="stop")
            await socket.send(type="ping")
            while (await socket.receive())["type"] != "pong":
                pass

    async def rate(self, service: Service, visitor: Visitor, message_id: str, rating: str) -> None:
        """Store what the person thinks of a reply; raises ServiceError."""
        await service.call(visitor, "POST", self.path + "/feedback", {"message_id": message_id, "rating": rating})
        self.ratings[message_id] = rating

    async def rename(self, service: Service, visitor: Visitor, name: str | None) -> None:
        """Change or erase the person's name; raises ServiceError."""
        await self.begin(service, visitor)
        answer = await service.call(visitor, "PATCH", self.path, {"user_name": name})
        self.user_name = answer.json()["user_name"]

    async def _follow(self, socket: Socket, text: str | None, missed: Sequence[dict[str, Any]] = ()) -> AsyncGenerator[None, None]:
        """Take a turn's frames, those that were missed first, until it is done."""
        frames = iter(missed)
        while True:
            try:
                frame = next(frames, None) or await socket.receive()
            except ConnectionLost:
                raise
            except ServiceError as exc:
                if self.reply is None or exc.code != "backend_unavailable":
                    raise
                self.notice = exc.message  # an accepted message is answered when the service can go on
                yield
                continue
            self._take(frame, text)
            yield
            if frame["type"] == "done":
                return

    def _take(self, frame: dict[str, Any], text: str | None) -> None:
        match frame["type"]:
            case "ack":
                self._begin_turn(frame["message_id"], text)
            case "emotion":
                self.messages[-1]["emotion"] = frame
            case "safety":
                self.resources = frame["resources"]
            case "disclosure":
                self.notice = frame["text"]
            case "delta":
                self.reply = (self.reply or "") + frame["text"]
            case "done":
                reply = {
                    "message_id": frame["reply_id"],
                    "role": "assistant",
                    "text": frame["reply"],
                    "finish_reason": frame["finish_reason"],
                }
                self.messages.append(reply)
                self.trajectory = frame["trajectory"] if frame["finish_reason"] != "error" else self.trajectory
                self.reply = None

    def _begin_turn(self, message_id: str, text: str | None) -> None:
        """Show the message as accepted; what followed it is about to be replaced."""
        index = next((i for i, message in enumerate(self.messages) if message["message_id"] == message_id), len(self.messages))
        if index == len(self.messages):
            self.messages.append({"message_id": message_id, "role": "user", "text": text or ""})
        elif text is not None:
            self.messages[index] = {"message_id": message_id, "role": "user", "text": text}
        del self.messages[index + 1 :]
        self.editing = None
        if self.reply is not None:  # a turn that was interrupted begins again
            self.notice = ""
        self.reply = ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
