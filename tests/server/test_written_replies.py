"""The written replies: there is one for everything, and none comes back."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from empathetic_server.emotions import EmotionGroup
from empathetic_server.engines.protocols import GenerationRequest, Sampling
from empathetic_server.engines.written_generator import WrittenGenerator
from empathetic_server.prompting import SYSTEM_PROMPT
from empathetic_server.reply_cleaning import ReplyCleaner
from empathetic_server.strategies import Moment, ReplyPlan, Strategy, choose_strategy
from empathetic_server.trajectory import Stage, State
from empathetic_server.written_lines import ACKNOWLEDGEMENTS, CHANGES, FAMILY, INTRODUCED, MOVES, NAME_REFUSED
from empathetic_server.written_replies import write_reply

PLANS = [
    ReplyPlan(*values) for values in product(get_args(EmotionGroup), get_args(Stage), get_args(State), get_args(Strategy), get_args(Moment))
]
PAIRS = [
    f"{acknowledgement} {move}"
    for group, family in FAMILY.items()
    for moves in MOVES.values()
    for acknowledgement in (*ACKNOWLEDGEMENTS[group], *(line for lines in CHANGES[family].values() for line in lines))
    for move in moves[family]
]


def test_there_is_a_short_whole_reply_for_every_plan() -> None:
    for plan in PLANS:
        reply = write_reply(plan)
        assert 2 <= len(reply.split()) <= 45, reply
        assert reply[0].isupper(), reply
        assert reply[-1] in ".?!", reply


def test_every_strategy_has_at_least_five_moves_and_every_group_five_acknowledgements() -> None:
    assert all(len(lines) >= 5 for moves in MOVES.values() for lines in moves.values())
    assert all(len(lines) >= 5 for lines in ACKNOWLEDGEMENTS.values())


def test_the_cleaner_changes_nothing_in_what_is_written() -> None:
    for reply in sorted({*PAIRS, *INTRODUCED, *NAME_REFUSED}):
        cleaner = ReplyCleaner(SYSTEM_PROMPT, None, False)
        assert cleaner.feed(reply) + cleaner.finish("stop") == reply


def test_a_conversation_of_thirty_turns_repeats_nothing() -> None:
    used: list[str] = []
    previous: list[Strategy] = []
    for _ in range(30):
        previous.append(choose_strategy(group="sadness", stage="advanced", state="neutral", asks=False, previous=previous))
        used.append(write_reply(ReplyPlan("sadness", "advanced", "neutral", previous[-1], "ordinary", tuple(used))))
    assert len(set(used)) == 30


def test_lines_are_used_evenly_and_when_all_pairs_are_used_the_oldest_comes_back() -> None:
    used: list[str] = []
    count = len(ACKNOWLEDGEMENTS["fear"]) * len(MOVES["reflect"]["painful"])
    for _ in range(count + 1):
        used.append(write_reply(ReplyPlan("fear", "middle", "neutral", "reflect", "ordinary", tuple(used))))
    assert len(set(used[:count])) == count
    assert used[count] == used[0]
    first_moves = [next(move for move in MOVES["reflect"]["painful"] if reply.endswith(move)) for reply in used[:5]]
    assert len(set(first_moves)) == 5


@pytest.mark.anyio
async def test_the_engine_streams_the_reply_word_by_word() -> None:
    plan = ReplyPlan("joy", "initial", "unknown", "question")
    chunks = [chunk async for chunk in WrittenGenerator().stream(GenerationRequest((), Sampling(50), plan))]
    assert "".join(chunk.text for chunk in chunks) == write_reply(plan)
    assert len(chunks) == len(write_reply(plan).split()) + 1
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
