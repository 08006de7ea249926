"""The choice of a support strategy."""

from __future__ import annotations

from typing import get_args

import pytest
from empathetic_server.emotions import EMOTION_GROUP, VALENCE, EmotionGroup
from empathetic_server.strategies import Strategy, choose_strategy
from empathetic_server.trajectory import Stage, State
from hypothesis import given
from hypothesis import strategies as st

GROUPS: st.SearchStrategy[EmotionGroup] = st.sampled_from(get_args(EmotionGroup))
STAGES: st.SearchStrategy[Stage] = st.sampled_from(get_args(Stage))
STATES: st.SearchStrategy[State] = st.sampled_from(get_args(State))
PREVIOUS: st.SearchStrategy[list[Strategy]] = st.lists(st.sampled_from(get_args(Strategy)), max_size=8)


def test_every_label_has_a_group_and_every_group_a_label() -> None:
    assert EMOTION_GROUP.keys() == VALENCE.keys()
    assert set(EMOTION_GROUP.values()) == set(get_args(EmotionGroup))


@given(GROUPS, STAGES, STATES, st.booleans(), PREVIOUS)
def test_no_strategy_comes_twice_running(group: EmotionGroup, stage: Stage, state: State, asks: bool, previous: list[Strategy]) -> None:
    chosen = choose_strategy(group=group, stage=stage, state=state, asks=asks, previous=previous)
    assert not previous or chosen != previous[-1]


@given(GROUPS, STATES, st.booleans(), PREVIOUS)
def test_nobody_is_advised_at_the_beginning(group: EmotionGroup, state: State, asks: bool, previous: list[Strategy]) -> None:
    assert choose_strategy(group=group, stage="initial", state=state, asks=asks, previous=previous) not in ("suggest", "inform")


@given(st.sampled_from(["sadness", "anger", "fear", "shame"]), st.sampled_from(["declining", "negative"]), PREVIOUS)
def test_while_things_get_worse_understanding_comes_before_advice(group: EmotionGroup, state: State, previous: list[Strategy]) -> None:
    chosen = choose_strategy(group=group, stage="middle", state=state, asks=False, previous=previous)
    assert chosen in ("reflect", "affirm", "question", "restate")


@pytest.mark.parametrize(
    ("group", "stage", "state", "asks", "chosen"),
    [
        pytest.param("sadness", "initial", "unknown", False, "reflect", id="sadness at first is reflected"),
        pytest.param("sadness", "advanced", "improving", False, "affirm", id="later it is affirmed"),
        pytest.param("joy", "middle", "positive", False, "affirm", id="joy is shared"),
        pytest.param("neutral", "initial", "unknown", False, "question", id="an open beginning is asked about"),
        pytest.param("fear", "middle", "negative", True, "inform", id="a question is answered"),
    ],
)
def test_what_comes_first(group: EmotionGroup, stage: Stage, state: State, asks: bool, chosen: Strategy) -> None:
    assert choose_strategy(group=group, stage=stage, state=state, asks=asks, previous=[]) == chosen


def test_the_strategy_whose_last_use_is_longest_ago_is_next() -> None:
    used: list[Strategy] = []
    for _ in range(8):
        used.append(choose_strategy(group="sadness", stage="advanced", state="neutral", asks=False, previous=used))
    assert used[:5] == ["affirm", "suggest", "question", "reflect", "inform"]
    assert used[5:] == used[:3]
