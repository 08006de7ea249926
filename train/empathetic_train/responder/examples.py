"""Makes fine-tuning examples: a context, the note that the server would send, and the reply. Pure but for the draw it is given.

Each reply of a supportive conversation is one example, with all that was said before it and the feelings of the last message.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .conversations import Conversation, Turn, merged
from .names import draw_name, with_name
from .notes import Feelings, stage_of, write_note
from .sources import COUNSEL, ED, ED_TEST, ESCONV
from .strategies import strategy_of
from .wording import clean, well_written

SUPPORTIVE = (ED, ED_TEST, ESCONV, COUNSEL)
# Counsellors write essays; a companion's reply is one to three short sentences.
_MAX_SENTENCES, _MAX_WORDS = 3, 60
# "Oh." and "That's cool." teach nothing but to be bland.
_MIN_WORDS = 3
_NO_NOTE_SHARE, _NO_FEELINGS_SHARE, _NAME_SHARE, _NAME_SAID_SHARE = 0.03, 0.05, 0.12, 0.7
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Example:
    """A context that ends with the person's message, the reply to it, and what the reply does."""

    context: tuple[Turn, ...]
    reply: str
    strategy: str
    note: str | None = None

    @property
    def message(self) -> str:
        """What is replied to."""
        return self.context[-1].text


def find_examples(conversations: Iterable[Conversation], *, every_reply: bool = False) -> list[Example]:
    """Return an example, without a note yet, for each reply of the supportive conversations.

    Args:
        conversations: of any source.
        every_reply: keep what is too short or too long to learn from, too: for measuring.
    """
    examples = []
    for conversation in conversations:
        if conversation.source not in SUPPORTIVE:
            continue
        turns = tuple(turn for turn in merged(conversation.turns) if turn.text.strip())
        context: tuple[Turn, ...] = ()
        for turn in turns:
            if turn.role == "reply":
                reply = well_written(turn.text)
                shown = reply if every_reply else _shortened(reply)
                if context and (every_reply or len(shown.split()) >= _MIN_WORDS):
                    examples.append(Example(context, shown, strategy_of(shown, turn.strategies)))
                context = (*context, replace(turn, text=reply)) if context else ()  # the server's prompt begins with the person
            else:
                context = (*context, replace(turn, text=clean(turn.text)))
    return examples


def write_notes(examples: Iterable[Example], feelings: Mapping[str, Feelings]) -> list[Example]:
    """Give each example the whole note that the server would send, without a name."""
    return [replace(example, note=write_note(feelings[example.message], example.strategy, _stage(example))) for example in examples]


def vary_notes(examples: Iterable[Example], feelings: Mapping[str, Feelings], draw: random.Random) -> list[Example]:
    """Do the same, but let names come, and feelings or the whole note be missing, as it may happen to the server."""
    varied = []
    for example in examples:
        felt = None if draw.random() < _NO_FEELINGS_SHARE else feelings[example.message]
        name = draw_name(draw) if draw.random() < _NAME_SHARE else None
        said = with_name(example.reply, name) if name and draw.random() < _NAME_SAID_SHARE else None
        note = None if draw.random() < _NO_NOTE_SHARE and not said else write_note(felt, example.strategy, _stage(example), name)
        varied.append(replace(example, note=note, reply=said or example.reply))
    return varied


def _stage(example: Example) -> str:
    return stage_of(sum(turn.role == "user" for turn in example.context))


def _shortened(reply: str) -> str:
    """Return the first sentences, as many as a short reply may have."""
    kept: list[str] = []
    for sentence in _SENTENCE.split(reply)[:_MAX_SENTENCES]:
        if kept and len(" ".join([*kept, sentence]).split()) > _MAX_WORDS:
            break
        kept.append(sentence)
    shown = " ".join(kept)
    return shown if len(shown.split()) <= _MAX_WORDS else ""
