"""Puts a written reply together, for when no language model answers. Pure; the wording is in `written_lines.py`.

A reply is an acknowledgement of the emotion and a move of the strategy. Within a conversation, a pair comes back only when every
pair for the plan has been used, and lines that are in fewer earlier replies go first.
"""

from __future__ import annotations

from itertools import product
from zlib import crc32

from .strategies import ReplyPlan
from .written_lines import ACKNOWLEDGEMENTS, CHANGES, FAMILY, INTRODUCED, MOVES, NAME_REFUSED


def write_reply(plan: ReplyPlan) -> str:
    """Return the reply for a plan; the same for the same plan."""
    if plan.moment != "ordinary":
        lines = INTRODUCED if plan.moment == "introduced" else NAME_REFUSED
        return min(lines, key=lambda line: (line in plan.used, _rank(line, plan)))
    family = FAMILY[plan.group]
    acknowledgements = (*CHANGES[family].get(plan.state, ()), *ACKNOWLEDGEMENTS[plan.group])
    moves = MOVES[plan.strategy][family]
    last_use = {reply: number for number, reply in enumerate(plan.used, start=1)}
    begun = {line: sum(reply.startswith(line) for reply in plan.used) for line in acknowledgements}
    ended = {line: sum(reply.endswith(line) for reply in plan.used) for line in moves}

    def wear(pair: tuple[str, str]) -> tuple[int, int, int]:
        """Order pairs: unused ones first (of the used, the oldest), then those with the freshest lines, then as if by chance."""
        acknowledgement, move = pair
        reply = f"{acknowledgement} {move}"
        return last_use.get(reply, 0), begun[acknowledgement] + ended[move], _rank(reply, plan)

    acknowledgement, move = min(product(acknowledgements, moves), key=wear)
    return f"{acknowledgement} {move}"


def _rank(reply: str, plan: ReplyPlan) -> int:
    """Return a number that looks like chance and is not: `random` would make replies untestable, `hash` differs from run to run."""
    return crc32(f"{plan.seed}|{reply}".encode())
