"""The safety of the person who writes: rules, a learned score, contacts, written replies. Pure: knows no model, session or network."""

from __future__ import annotations

from .assessment import Assessment, Reading, Statement, assess, read
from .contacts import Locale
from .learned import CrisisHead
from .lexicon import Level
from .protocol import protocol_page
from .rules import find_danger

__all__ = ["Assessment", "CrisisHead", "Level", "Locale", "Reading", "Statement", "assess", "find_danger", "protocol_page", "read"]
