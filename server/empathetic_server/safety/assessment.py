"""How much danger a conversation tells of now: rules, learned score, and what earlier messages leave behind. Pure.

The learned score may raise what the rules found, and lowers nothing. Alone it never brings the written reply, for it knows neither
figures of speech nor time; and where the rules have read a phrase of danger as harmless (denied, past, told of the dead, of news or
of study), it is not asked:

    rules and score              below     speaks for concern    speaks for high
    none                       none      concern               concern
    none, read as harmless     none      none                  none
    concern                    concern   concern               high
    high, imminent             as they are

What a message said does not end with the next one; "just kidding" does not clear it:

    own level    1 message later    2 and 3 later    after that
    imminent     high               concern          none
    high         concern            concern          none
    concern      none
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from .contacts import Contact, Locale, contacts_for
from .lexicon import Level
from .replies import Audience, crisis_reply
from .rules import LEVELS, Finding, find_danger

_LEFT: dict[Level, tuple[Level, ...]] = {"imminent": ("high", "concern", "concern"), "high": ("concern", "concern", "concern")}
_MINOR = re.compile(
    r"\b(?:i ?a?m|im only|im just) (?:only |just )?(?:[5-9]|1[0-7])(?: years?(?: old)?| yo|yrs?)?(?=[ .,!?]*(?:$|[.,!?]| and "
    r"| but | years| yo))"
)
_APOSTROPHE = re.compile("['\u2019]")


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found, and what is to be said and shown.

    Attributes:
        level: of the conversation now, earlier messages included.
        reasons: codes of the rules; `learned` when the score decides, `earlier` when an earlier message does. Never text.
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


@dataclass(frozen=True, slots=True)
class Statement:
    """What the person wrote once.

    Attributes:
        stored: the level that the conversation had after it, where that is known.
    """

    text: str
    stored: Level = "none"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rules found in a conversation; the texts are read once, however often it is assessed.

    Attributes:
        own: in the message to answer.
        earlier: in the messages before it that may still count, the newest first.
        is_minor: whether the person said that they are under 18.
    """

    own: Finding
    earlier: tuple[Finding, ...]
    is_minor: bool


def read(said: Sequence[Statement]) -> Reading:
    """Read what the person wrote, oldest first; the last is the message to answer. All of it is read."""
    earlier = [_found_then(statement) for statement in reversed(said[:-1][-len(_LEFT["high"]) :])]
    own = find_danger(said[-1].text)
    is_minor = any(_MINOR.search(_APOSTROPHE.sub("", statement.text.casefold())) for statement in said)
    return Reading(own, tuple(earlier), is_minor)


def assess(reading: Reading, locale: Locale, *, learned: Level = "none", crisis_replies: int = 0) -> Assessment:
    """Assess a conversation.

    Args:
        reading: what the rules found.
        locale: whose contacts are named.
        learned: what the learned score speaks for; `none` while there is no classifier.
        crisis_replies: written replies that the conversation already has.
    """
    finding = _with_earlier(_with_learned(reading.own, learned), reading.earlier)
    if finding.level == "none":
        return Assessment("none")
    contacts = contacts_for(locale, finding.language, is_minor=reading.is_minor)
    reply = None
    if finding.level in ("high", "imminent"):
        reply = crisis_reply(_audience(finding), finding.language, contacts, earlier=crisis_replies)
    return Assessment(finding.level, finding.reasons, contacts, reply)


def _with_learned(own: Finding, learned: Level) -> Finding:
    if own.level == "none" and learned != "none" and not own.is_harmless:
        return Finding("concern", ("learned",))
    if own.level == "concern" and learned == "high":
        return Finding("high", (*own.reasons, "learned"))
    return own


def _found_then(statement: Statement) -> Finding:
    found = find_danger(statement.text)
    if found.level == "concern" and statement.stored in ("high", "imminent"):  # the learned score had raised it
        return replace(found, level="high")
    return found


def _with_earlier(own: Finding, earlier: Sequence[Finding]) -> Finding:
    highest = own
    for distance, before in enumerate(earlier):
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
