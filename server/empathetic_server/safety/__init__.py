"""The safety of the person who writes: rules, contacts, written replies. Pure; nothing here needs a model, a session or a network."""

from __future__ import annotations

from .assessment import Assessment, assess
from .contacts import Locale
from .protocol import protocol_page
from .rules import find_danger

__all__ = ["Assessment", "Locale", "assess", "find_danger", "protocol_page"]
