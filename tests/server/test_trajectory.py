"""The rules of the trajectory, as its docstring states them."""

from __future__ import annotations

import pytest
from empathetic_server.trajectory import PLEASANT, State, Trajectory, Turn, follow
from hypothesis import given
from hypothesis import strategies as st

VALENCES = st.lists(st.none() | st.floats(-1, 1), max_size=12)
MIRROR: dict[State, State] = {"positive": "negative", "negative": "positive", "improving": "declining", "declining": "improving"}


def read(valences: list[float | None]) -> Trajectory:
    return follow([Turn(f"m{i}", None if value is None else "joy", value) for i, value in enumerate(valences)])


@pytest.mark.parametrize(
    ("valences", "state"),
    [
        pytest.param([], "unknown", id="no turn"),
        pytest.param([0.9], "unknown", id="one turn says nothing about change"),
        pytest.param([0.7, 0.9], "positive", id="two pleasant turns"),
        pytest.param([-0.7, -0.9], "negative", id="two unpleasant turns"),
        pytest.param([-0.7, 0.0, -0.7], "negative", id="a flat turn does not end a run"),
        pytest.param([-0.9, 0.0], "improving", id="from unpleasant to flat"),
        pytest.param([-0.9, 0.7], "improving", id="from unpleasant to pleasant"),
        pytest.param([0.9, 0.0], "declining", id="from pleasant to flat"),
        pytest.param([0.7, -0.7], "declining", id="from pleasant to unpleasant"),
        pytest.param([0.1, 0.0], "neutral", id="two flat turns"),
        pytest.param([-0.9, -0.9, 0.0, 0.1, -0.1], "neutral", id="three flat turns end a mood"),
        pytest.param([0.9, None, 0.7], "positive", id="a turn without classifier is passed over"),
    ],
)
def test_state(valences: list[float | None], state: State) -> None:
    assert read(valences).state == state


@pytest.mark.parametrize(
    ("messages", "stage"), [(0, "initial"), (1, "initial"), (2, "middle"), (3, "middle"), (4, "advanced"), (40, "advanced")]
)
def test_stage_follows_the_number_of_messages_classified_or_not(messages: int, stage: str) -> None:
    assert read([None] * messages).stage == stage


@given(VALENCES)
def test_turning_every_valence_round_exchanges_the_states(valences: list[float | None]) -> None:
    straight = read(valences)
    mirrored = read([None if value is None else -value for value in valences])
    assert mirrored.state == MIRROR.get(straight.state, straight.state)
    assert (mirrored.positive_run, mirrored.negative_run) == (straight.negative_run, straight.positive_run)
    assert mirrored.stage == straight.stage


@given(VALENCES)
def test_only_one_run_is_alive_and_it_never_exceeds_the_turns_of_its_sign(valences: list[float | None]) -> None:
    found = read(valences)
    known = [value for value in valences if value is not None]
    assert 0 in (found.positive_run, found.negative_run)
    assert found.positive_run <= sum(value >= PLEASANT for value in known)
    assert found.negative_run <= sum(value <= -PLEASANT for value in known)


@given(VALENCES, st.floats(-0.19, 0.19))
def test_a_flat_turn_changes_no_run(valences: list[float | None], flat: float) -> None:
    before, after = read(valences), read([*valences, flat])
    assert (after.positive_run, after.negative_run) == (before.positive_run, before.negative_run)


@given(VALENCES)
def test_unclassified_turns_change_the_stage_alone(valences: list[float | None]) -> None:
    known = read([value for value in valences if value is not None])
    assert read(valences).state == known.state


@given(VALENCES)
def test_every_turn_is_told_in_order(valences: list[float | None]) -> None:
    told = read(valences).as_dict()
    assert [turn["valence"] for turn in told["turns"]] == valences
    assert [turn["message_id"] for turn in told["turns"]] == [f"m{i}" for i in range(len(valences))]
