"""The published crisis protocol, as a page for people. Pure but for reading its own text."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from .contacts import CHILD_CONTACTS, CONTACTS, Locale


def protocol_page(locale: Locale) -> str:
    """Return the page with a locale's contacts."""
    contacts = (*CONTACTS[locale], CHILD_CONTACTS[locale])
    items = "".join(
        f'<li>{escape(contact["name"])}: <a href="{escape(contact["url"])}">{escape(contact["contact"])}</a></li>' for contact in contacts
    )
    return Template((files(__package__) / "protocol.html").read_text("utf-8")).substitute(contacts=items)
