"""Puts names into examples: the data have none, and the person may have told theirs. Pure.

A model of this size learns to repeat a name only from many different ones, so most are made of syllables.
"""

from __future__ import annotations

import random
import re

_KNOWN = """
Ana Ben Carla David Elena Farid Grace Hugo Ines Jamal Kira Liam Maria Noah Olga Priya Quinn Rosa Sam Tara Umar Vera Wei Ximena Yusuf Zoe
Alex Maya Jordan Emma Lucas Aisha Chen Nina Tom Julia Kofi Lena Marco Sofia Ravi Hana Ivan Mei Omar Ruth Paul Kate Mike Sarah Jo-Ann
""".split()  # noqa: SIM905  # as a list it would be five times as long
_BEGINNINGS = ("b", "br", "c", "d", "f", "g", "h", "j", "k", "kr", "l", "m", "n", "p", "r", "s", "sh", "st", "t", "th", "v", "w", "z", "")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ia", "y")
_ENDINGS = ("", "", "n", "l", "r", "s", "h", "nne", "tt", "m")
_KNOWN_SHARE = 0.3
# Longer first sentences say too much for a name to come after them.
_MAX_WORDS = 9
_FIRST_SENTENCE = re.compile(r"^[^.!?]+(?=[.!?](?:\s|$))")


def draw_name(draw: random.Random) -> str:
    """Return a name, known or made up."""
    if draw.random() < _KNOWN_SHARE:
        return draw.choice(_KNOWN)
    syllables = "".join(draw.choice(_BEGINNINGS) + draw.choice(_VOWELS) for _ in range(draw.choice((1, 2, 2, 3))))
    return (syllables + draw.choice(_ENDINGS)).capitalize()


def with_name(reply: str, name: str) -> str | None:
    """Return the reply with the name at the end of its first sentence, or None where it would not sound right there."""
    first = _FIRST_SENTENCE.match(reply)
    if first is None or not 1 < len(first[0].split()) <= _MAX_WORDS or "," in first[0]:
        return None
    return f"{first[0]}, {name}{reply[first.end() :]}"
