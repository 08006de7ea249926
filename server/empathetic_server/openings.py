"""Sentence openings that are never shown, as trees to be followed word by word. Pure data and small functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

# What no friend says, and talk about the reply or the notes: a sentence that opens so is dropped whole.
_FORBIDDEN = """
i understand how you feel | i understand how you're feeling | i understand what you're going through | i know how you feel
i know exactly how you feel | i hear you | i'm all ears | i'm here for you | i'm always here | i'm here to listen | i'm here to help
i'm here to support | i'm here if you | let me know if there's anything | let me know if you need | let me know how i can
feel free to | don't hesitate | it's okay to feel | it's important to remember | remember, | remember that | thank you for sharing
thanks for sharing | your feelings are valid | your emotions are valid | what you're feeling is valid | i hope this helps
how can i help you | how can i assist | how may i | is there anything else i can | as an ai language model | as an ai model
as a language model | as a large language model | as a therapist | as your therapist
here is a response | here is my response | here is a reply | here is my reply | here is a possible | note: | note that | reply: | answer:
this response | this reply | in this response | in my response | based on the emotion | based on the emotions | based on the detected
based on your emotion | given the emotion | given the user | the user | the detected emotion | my instructions | my system prompt
according to my instructions | according to my notes | according to the notes
"""
# They may come before such an opening, and do not hide it.
_LEADS = """
oh | ah | aw | aww | hm | hmm | wow | well | hey | hi | hello | so | and | but | ok | okay | yes | yeah | no | sure | certainly | absolutely
of course | look | please | just | honestly | sorry | i'm sorry | i'm so sorry | thanks | thank you
"""
# Full forms count as their contractions.
_CONTRACTED = {"am": "'m", "is": "'s", "are": "'re"}
# With fewer words in common with a sentence of the system prompt, it may be chance.
_LEAK_WORDS = 5
_FULL = {contraction: full for full, contraction in _CONTRACTED.items()}
_KEY = re.compile(r"'?\w+|[,:]")

# From key to key; the entries "!" and "+", which are no keys, mark the ends of forbidden openings and of lead-ins.
Openings: TypeAlias = "dict[str, Openings]"


def openings(system_prompt: str, user_name: str | None) -> tuple[Openings, Openings]:
    """Return all forbidden openings and what may come before them: a tree that every reply has, and the reply's own.

    Args:
        system_prompt: the beginnings of its sentences are forbidden, too.
        user_name: may come before an opening and does not hide it.
    """
    sentences = re.split(r"(?<=[.!?:])\s|\n", system_prompt)
    leaks = [" ".join(words[:_LEAK_WORDS]) for sentence in sentences if len(words := sentence.strip("- ").split()) >= _LEAK_WORDS]
    return _EVERY_REPLY, _tree(leaks, [user_name or ""])


def keys_of(text: str) -> list[str]:
    """Return what counts of a text when openings are compared: words without case, commas and colons."""
    found: list[str] = _KEY.findall(text.casefold().replace("\u2019", "'"))
    return [_CONTRACTED.get(key, key) for key in found]


def can_follow(begun: str, node: Openings) -> bool:
    """Whether a word of which this much is known, small Latin letters, may be one that goes on from a node."""
    return any(_FULL.get(key, key).startswith(begun) for key in node)


def _tree(forbidden: Iterable[str], leads: Iterable[str]) -> Openings:
    root: Openings = {}
    for phrases, end in ((forbidden, "!"), (leads, "+")):
        for keys in filter(None, map(keys_of, phrases)):
            node = root
            for key in keys:
                node = node.setdefault(key, {})
            node[end] = {}
    return root


# It has a hundred phrases: built once, and only followed from then on.
_EVERY_REPLY = _tree(re.split(r"[|\n]", _FORBIDDEN), re.split(r"[|\n]", _LEADS))
