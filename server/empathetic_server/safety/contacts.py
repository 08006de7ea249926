"""Who can help, by locale: the services' own public pages are the sources. Pure data, reviewed 2026-11.

988lifeline.org · crisistextline.org · samaritans.org · giveusashout.org · text50808.ie · 988.ca · kidshelpphone.ca · lifeline.org.au ·
kidshelpline.com.au · telemanas.mohfw.gov.in · childlineindia.org · childline.org.uk · findahelpline.com · 3114.fr ·
telefonseelsorge.de · cvv.org.br · sanidad.gob.es (024)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Locale = Literal["international", "us", "gb", "ie", "ca", "au", "in"]
Contact = Mapping[str, str]


def _contact(name: str, contact: str, host: str) -> Contact:
    return {"name": name, "contact": contact, "url": f"https://{host}"}


_FIND = _contact("Find A Helpline (everywhere)", "findahelpline.com", "findahelpline.com")
_US = _contact("988 Suicide & Crisis Lifeline (US)", "call, text or chat 988", "988lifeline.org")
_US_TEXT = _contact("Crisis Text Line (US)", "text HOME to 741741", "www.crisistextline.org")
_SAMARITANS = _contact("Samaritans (UK and Ireland)", "call 116 123", "www.samaritans.org")
_INDIA = _contact("Tele-MANAS (India)", "call 14416", "telemanas.mohfw.gov.in")

# The emergency number is first: it is what helps when minutes count.
CONTACTS: dict[Locale, tuple[Contact, ...]] = {
    "international": (
        _contact("Emergency services", "your local emergency number", "findahelpline.com"),
        _FIND,
        _US,
        _SAMARITANS,
    ),
    "us": (_contact("Emergency services (US)", "call 911", "www.911.gov"), _US, _US_TEXT),
    "gb": (
        _contact("Emergency services (UK)", "call 999", "www.nhs.uk"),
        _SAMARITANS,
        _contact("Shout (UK)", "text SHOUT to 85258", "giveusashout.org"),
    ),
    "ie": (
        _contact("Emergency services (Ireland)", "call 112 or 999", "www.112.ie"),
        _SAMARITANS,
        _contact("Text About It (Ireland)", "text HELLO to 50808", "www.textaboutit.ie"),
    ),
    "ca": (_contact("Emergency services (Canada)", "call 911", "988.ca"), _contact("9-8-8 (Canada)", "call or text 988", "988.ca"), _FIND),
    "au": (
        _contact("Emergency services (Australia)", "call 000", "www.triplezero.gov.au"),
        _contact("Lifeline (Australia)", "call 13 11 14", "www.lifeline.org.au"),
        _FIND,
    ),
    "in": (_contact("Emergency services (India)", "call 112", "112.gov.in"), _INDIA, _FIND),
}
# For somebody who says that they are under 18.
CHILD_CONTACTS: dict[Locale, Contact] = {
    "international": _contact("Child helplines (everywhere)", "childhelplineinternational.org", "childhelplineinternational.org"),
    "us": _contact("988 Suicide & Crisis Lifeline (US), for every age", "call, text or chat 988", "988lifeline.org"),
    "gb": _contact("Childline (UK)", "call 0800 1111", "www.childline.org.uk"),
    "ie": _contact("Childline (Ireland)", "call 1800 66 66 66", "www.childline.ie"),
    "ca": _contact("Kids Help Phone (Canada)", "call 1-800-668-6868 or text 686868", "kidshelpphone.ca"),
    "au": _contact("Kids Helpline (Australia)", "call 1800 55 1800", "kidshelpline.com.au"),
    "in": _contact("Childline (India)", "call 1098", "www.childlineindia.org"),
}
# For a statement in another language: a line that answers in it comes first.
LANGUAGE_CONTACTS: dict[str, tuple[Contact, ...]] = {
    "es": (
        _contact("Línea 024 (España)", "llama al 024", "www.sanidad.gob.es"),
        _contact("988 en español (EE. UU.)", "llama al 988 y marca 2", "988lifeline.org/es"),
        _FIND,
    ),
    "fr": (_contact("3114 (France)", "appelle le 3114", "3114.fr"), _contact("9-8-8 (Canada)", "appelle ou texte le 988", "988.ca"), _FIND),
    "de": (_contact("TelefonSeelsorge (Deutschland)", "0800 111 0 111 anrufen", "www.telefonseelsorge.de"), _FIND),
    "pt": (_contact("CVV (Brasil)", "ligue 188", "cvv.org.br"), _FIND),
    "hi": (_INDIA, _FIND),
}


def contacts_for(locale: Locale, language: str, *, is_minor: bool) -> tuple[Contact, ...]:
    """Return who can help, most fitting first."""
    fitting = LANGUAGE_CONTACTS.get(language, ()) or CONTACTS[locale]
    return (CHILD_CONTACTS[locale], *fitting) if is_minor else fitting
