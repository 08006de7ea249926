"""Counts replies: how varied, how long, how repetitive, how fitting and how specific they are. Pure; knows no server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..samples import percentile
from .asking import Reading, Said

# From here down the server calls a message unpleasant.
UNPLEASANT = -0.2
# What a reply to an unpleasant message must not sound like. Care, hope and approval belong in a comforting reply, and are not among them.
CHEERFUL = frozenset(["admiration", "amusement", "excitement", "gratitude", "joy", "love", "pride", "relief"])
# Shorter words are mostly the same in all messages.
_CONTENT_LETTERS = 4


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without marks."""
    return re.findall(r"[^\W_]+(?:'[a-z]+)?", text.lower())


def count_wording(replies: Sequence[str]) -> dict[str, int]:
    """Count words, distinct words and pairs of words (distinct-1, distinct-2), distinct replies and replies that repeat themselves."""
    single: set[str] = set()
    pairs: set[tuple[str, ...]] = set()
    totals: Counter[str] = Counter()
    for reply in replies:
        found = words(reply)
        triples = _runs(found, 3)
        single.update(found)
        pairs.update(_runs(found, 2))
        totals.update(words=len(found), pairs=len(_runs(found, 2)), repetitive=len(set(triples)) < len(triples))
    return {
        "replies": len(replies),
        "distinct_replies": len(set(replies)),
        "words": totals["words"],
        "distinct_words": len(single),
        "pairs": totals["pairs"],
        "distinct_pairs": len(pairs),
        "repetitive": totals["repetitive"],
    }


def count_fitting(messages: Sequence[Reading], replies: Sequence[Reading]) -> dict[str, int]:
    """Count the messages of unpleasant feeling, and the cheerful replies among those to them."""
    to_unpleasant = [reply for message, reply in zip(messages, replies, strict=True) if message.valence <= UNPLEASANT]
    return {"unpleasant": len(to_unpleasant), "cheerful": sum(reply.primary in CHEERFUL for reply in to_unpleasant)}


def overlaps(messages: Sequence[str], replies: Sequence[str]) -> dict[str, float | None]:
    """Return the mean share of a reply's content words that its message has, and that another message has.

    The second is what any two texts share; a reply that answers its message has more of the first. None where there are no replies.
    """
    if not replies:
        return {"own": None, "other": None}
    others = [*messages[1:], *messages[:1]]
    return {
        name: sum(_shared(message, reply) for message, reply in zip(compared, replies, strict=True)) / len(replies)
        for name, compared in (("own", messages), ("other", others))
    }


def count_ends(said: Sequence[Said]) -> dict[str, int]:
    """Count how the replies ended."""
    return dict(sorted(Counter(answer.finish_reason for answer in said).items()))


def speed(said: Sequence[Said], metrics: dict[str, float], generator: str | None) -> dict[str, Any]:
    """Return how soon replies began, and how fast the generator wrote; None where none did.

    Tokens are those of every draft by the server's own count, per second of answering beyond the classification of the message: a server
    that writes drafts at once and chooses among them spends that time, too.
    """
    begun = [answer for answer in said if answer.first_token_ms is not None]
    first = [answer.first_token_ms or 0.0 for answer in begun]
    beyond = [(answer.first_token_ms or 0.0) - (answer.classify_ms or 0.0) for answer in begun]
    seconds = sum(answer.total_ms - (answer.classify_ms or 0.0) for answer in said) / 1000
    tokens = int(metrics.get(f'empathetic_generated_tokens_total{{generator="{generator}"}}', 0.0))
    return {
        "first_token_ms": [round(value, 2) for value in first],
        "first_token_p50_ms": percentile(first, 50) if first else None,
        "first_token_p99_ms": percentile(first, 99) if first else None,
        "first_token_beyond_classification_p50_ms": percentile(beyond, 50) if beyond else None,
        "generated_tokens": tokens,
        "answering_s": round(seconds, 3),
        "tokens_per_s": tokens / seconds if tokens else None,
    }


def _runs(found: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(found[start : start + length]) for start in range(len(found) - length + 1)]


def _shared(message: str, reply: str) -> float:
    content = {word for word in words(reply) if len(word) >= _CONTENT_LETTERS}
    return len(content & set(words(message))) / len(content) if content else 0.0
