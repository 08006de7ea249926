"""How much danger a conversation tells of now: the rules on each message, and what earlier messages leave behind. Pure.

What a message said does not end with the next one; "just kidding" does not clear it:

    own level    1 message later    2 and 3 later    after that
    imminent     high               concern          none
    high         concern            concern          none
    concern      none
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from .contacts import Contact, Locale, contacts_for
from .lexicon import Level
from .normalizing import normalize
from .replies import Audience, crisis_reply
from .rules import LEVELS, Finding, find_danger

_LEFT: dict[Level, tuple[Level, ...]] = {"imminent": ("high", "concern", "concern"), "high": ("concern", "concern", "concern")}
_MINOR = re.compile(
    r"\b(?:i ?a?m|im only|im just) (?:only |just )?(?:[5-9]|1[0-7])(?: years?(?: old)?| yo|yrs?)?(?=[ .,!?]*(?:$|[.,!?]| and "
    r"| but | years| yo))"
)

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found, and what is to be said and shown.

    Attributes:
        level: of the conversation now, earlier messages included.
        reasons: codes of the rules; `earlier` when an earlier message decides. Never text.
        resources: who can help; empty at `none`.
        reply: the written reply from `high` up, else None.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    resources: tuple[Contact, ...] = ()
    reply: str | None = None

    @property
    def is_crisis(self) -> bool:
        """Whether the reply must be the written one."""
        return self.reply is not None

    def as_dict(self) -> dict[str, object]:
        """Return the object of the wire contract."""
        return {"level": self.level, "resources": [dict(contact) for contact in self.resources]}


def assess(texts: Sequence[str], locale: Locale, *, crisis_replies: int = 0) -> Assessment:
    """Assess a conversation.

    Args:
        texts: what the person wrote, oldest first; the last is the message to answer. All of it is read.
        locale: whose contacts are named.
        crisis_replies: written replies that the conversation already has.
    """
    own = find_danger(texts[-1])
    finding = _with_earlier(own, texts[:-1])
    if finding.level == "none":
        return Assessment("none")
    is_minor = any(_MINOR.search(normalize(text)) for text in texts if _DIGIT.search(text))
    contacts = contacts_for(locale, finding.language, is_minor=is_minor)
    reply = None
    if finding.level in ("high", "imminent"):
        reply = crisis_reply(_audience(finding), finding.language, contacts, earlier=crisis_replies)
    return Assessment(finding.level, finding.reasons, contacts, reply)


def _with_earlier(own: Finding, earlier: Sequence[str]) -> Finding:
    highest = own
    for distance, text in enumerate(reversed(earlier[-len(_LEFT["high"]) :])):
        before = find_danger(text)
        left = _LEFT.get(before.level, ())
        if distance < len(left) and LEVELS.index(left[distance]) > LEVELS.index(highest.level):
            highest = Finding(left[distance], ("earlier",), before.language)
    return highest


def _audience(finding: Finding) -> Audience:
    if finding.level == "imminent":
        return "imminent"
    for audience in get_args(Audience):
        if finding.reasons == (audience,):
            return audience  # type: ignore[no-any-return]  # one of the literal's own values
    return "high"
