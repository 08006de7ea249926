"""What happens in a turn, in the order of the wire contract: ack, emotion, safety, disclosure, delta…, done. Knows no encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

FinishReason = Literal["stop", "length", "stopped", "crisis", "fallback", "error"]


@dataclass(frozen=True, slots=True)
class Ack:
    """The message is stored. `client_id` is None when the client gave none."""

    type: ClassVar[str] = "ack"
    client_id: str | None
    message_id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class EmotionDetected:
    """The emotions of the message; `reading` is an element of `data` in the wire contract."""

    type: ClassVar[str] = "emotion"
    message_id: str
    reading: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SafetyRaised:
    """The person may be in danger; comes before any delta."""

    type: ClassVar[str] = "safety"
    level: str
    resources: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Disclosure:
    """This is an AI: said again in a long conversation."""

    type: ClassVar[str] = "disclosure"
    text: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply."""

    type: ClassVar[str] = "delta"
    reply_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The turn is over and the reply, exactly the deltas joined, is stored."""

    type: ClassVar[str] = "done"
    message_id: str
    reply_id: str
    reply: str
    finish_reason: FinishReason
    trajectory: Mapping[str, Any]
    timings: Mapping[str, float | None]


Event = Ack | EmotionDetected | SafetyRaised | Disclosure | Delta | Done


def fields(event: Event) -> dict[str, Any]:
    """Return an event as the object of the wire contract, without `seq`."""
    if isinstance(event, EmotionDetected):
        return {"type": event.type, "message_id": event.message_id, **event.reading}
    return {"type": event.type, **{name: getattr(event, name) for name in event.__dataclass_fields__ if name != "type"}}
