"""Recognises a person in danger before anything else happens, without any model. Pure; knows no session and no HTTP.

This is the smallest useful layer: explicit first-person statements, in plain spelling. It finds what it finds; it is not yet the
crisis protocol, and a `none` means only that none of the statements below was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["none", "concern", "high", "imminent"]

RESOURCES: tuple[Mapping[str, str], ...] = (
    {"name": "988 Suicide & Crisis Lifeline (US)", "contact": "call or text 988", "url": "https://988lifeline.org"},
    {"name": "Crisis Text Line (US)", "contact": "text HOME to 741741", "url": "https://www.crisistextline.org"},
    {"name": "Samaritans (UK and Ireland)", "contact": "call 116 123", "url": "https://www.samaritans.org"},
    {"name": "Find A Helpline (everywhere)", "contact": "findahelpline.com", "url": "https://findahelpline.com"},
)

# Written, not generated: what is said here must not depend on a model. In turn, so that nobody reads the same block twice running.
CRISIS_REPLIES = (
    "I'm really glad you told me. Please talk to a person right now: call or text 988 in the US, call 116 123 in the UK or Ireland, "
    "or find a line near you at findahelpline.com. If you are in immediate danger, call your local emergency number. "
    "Are you safe at this moment? I'll keep talking with you.",
    "Thank you for not keeping this to yourself. You can reach someone at any hour: 988 by call or text in the US, 116 123 in the UK "
    "or Ireland, findahelpline.com anywhere else, and your local emergency number if you could act on this now. "
    "Is there anything near you that you could hurt yourself with, and can you put some distance between you and it? I'm still here.",
    "This matters, and so do you. 988 (call or text, US), 116 123 (UK and Ireland) and findahelpline.com are open now; in immediate "
    "danger call your local emergency number. Is someone with you, or could you ask someone to come? Write to me while you wait.",
)

_SELF = r"(?:myself|me)"
_EXPLICIT = re.compile(
    r"\b(?:"
    r"kill(?:ing)? myself(?! laughing)|end(?:ing)? (?:my(?: own)? life|it all)|tak(?:e|ing) my(?: own)? life"
    r"|(?:want|going|plan(?:ning)?|ready|trying|decided) to (?:die\b(?! laughing| for)|be dead|hang "
    + _SELF
    + r"|overdose|shoot "
    + _SELF
    + ")"
    r"|(?:cut|cutting|hurt|hurting|harm|harming) myself|suicidal|commit(?:ting)? suicide"
    r")",
    re.IGNORECASE,
)
# "I would never kill myself", "I'm not suicidal": what is denied right before is not an alarm.
_DENIED = re.compile(r"\b(?:not|never|don't|didn't|won't|wouldn't|no longer)(?: \w+){0,2} $", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found in one text."""

    level: Level
    resources: tuple[Mapping[str, str], ...] = ()

    @property
    def is_crisis(self) -> bool:
        """Whether the reply must be the written one."""
        return self.level in ("high", "imminent")

    def as_dict(self) -> dict[str, object]:
        """Return the object of the wire contract."""
        return {"level": self.level, "resources": list(self.resources)}


def assess(text: str) -> Assessment:
    """Look for a statement of danger in a person's message; all of it is read."""
    plain = text.replace("\u2019", "'")
    for found in _EXPLICIT.finditer(plain):
        if not _DENIED.search(plain[max(0, found.start() - 40) : found.start()]):
            return Assessment("high", RESOURCES)
    return Assessment("none")


def crisis_reply(earlier: int) -> str:
    """Return the written reply.

    Args:
        earlier: crisis replies that the conversation already has.
    """
    return CRISIS_REPLIES[earlier % len(CRISIS_REPLIES)]
