"""Turns conversations, passages and examples into tokens: whole texts to pre-train on, prompts with a reply to fine-tune on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerFast

from .chat import END, NOTE, TEXT, prompt_of, render
from .conversations import Conversation, merged
from .examples import Example
from .notes import Feelings, write_note
from .packing import Document, split_long
from .strategies import SENT
from .tokenizer import encode
from .wording import clean, well_written

logger = logging.getLogger(__name__)

# A reply that begins further to the right than this has too little room, and its context loses its oldest turns.
_REPLY_TOKENS = 96


def conversation_text(conversation: Conversation) -> str:
    """Return a conversation as one text, its replies well written."""
    turns = [
        replace(turn, text=well_written(turn.text) if turn.role == "reply" else clean(turn.text)) for turn in merged(conversation.turns)
    ]
    return render([turn for turn in turns if turn.text])


def passage_text(passage: str) -> str:
    """Return a book's passage as one text."""
    return f"{TEXT}{clean(passage)}"


def tokenizer_texts(texts: Iterable[str], labels: Iterable[str]) -> Iterator[str]:
    """Yield what the tokenizer learns from: the texts, and the words of the notes as often as makes each a piece of its own."""
    yield from texts
    for label in sorted(labels):
        for strategy in SENT:
            for stage in ("initial", "middle", "advanced"):
                note = write_note(Feelings((label, label), confident=True), strategy, stage)
                yield f"{NOTE}{note}" * 20


def pretraining_documents(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, row_tokens: int) -> list[Document]:
    """Return whole texts, in pieces of a row where they are longer."""
    return split_long((Document(ids) for ids in encode(tokenizer, list(texts))), row_tokens)


def tuning_documents(examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, row_tokens: int) -> list[Document]:
    """Return prompts with their replies, of which only the replies are learned.

    The oldest turns of a context that is too long are left out, as the server does; an example whose last message alone is too long
    is left out whole.
    """
    prompts = encode(tokenizer, [prompt_of(tokenizer, example.context, example.note) for example in examples])
    replies = encode(tokenizer, [f"{example.reply}{END}" for example in examples])
    documents = []
    for example, prompt, reply in zip(examples, prompts, replies, strict=True):
        room = row_tokens - max(len(reply), min(_REPLY_TOKENS, row_tokens // 4))
        ids: list[int] | None = prompt
        while ids is not None and len(ids) > room:
            example = _without_oldest(example)  # noqa: PLW2901  # shorter and shorter
            ids = encode(tokenizer, [prompt_of(tokenizer, example.context, example.note)])[0] if example.context else None
        if ids is not None:
            documents.append(Document([*ids, *reply], learned_from=len(ids)))
    if len(documents) < len(examples):
        logger.info("%d of %d examples do not fit a row of %d tokens", len(examples) - len(documents), len(examples), row_tokens)
    return documents


def _without_oldest(example: Example) -> Example:
    """Return the example without the oldest turn of the person and what was replied to it."""
    context = example.context[1:]
    while context and context[0].role == "reply":
        context = context[1:]
    return replace(example, context=context)
