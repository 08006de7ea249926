from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
from empathetic_bench.responder import figures
from empathetic_bench.responder.asking import Reading, Said
from empathetic_bench.responder.openings import read_openings

from tests.tiny_dialogues import write_dialogues


def said(reply: str = "Oh.", reason: str = "stop", classify: float | None = 2.0, first: float | None = 10.0) -> Said:
    return Said(reply, reason, classify, first, 20.0)


def test_wording_is_counted_in_words_without_marks_and_case() -> None:
    counted = figures.count_wording(["I see. I see!", "The kite, the kite, the kite fell.", "I see. I see!"])
    assert (counted["replies"], counted["distinct_replies"]) == (3, 2)
    assert (counted["words"], counted["distinct_words"]) == (4 + 7 + 4, 5)
    assert (counted["pairs"], counted["distinct_pairs"]) == (3 + 6 + 3, 2 + 3)
    assert counted["repetitive"] == 1  # "the kite the" and "kite the kite" come twice; "i see i" does not


def test_only_replies_to_unpleasant_messages_can_be_too_cheerful() -> None:
    messages = [Reading("sadness", -0.9), Reading("grief", -0.2), Reading("joy", 0.9), Reading("neutral", -0.19)]
    replies = [Reading("joy", 0.9), Reading("caring", 0.4), Reading("amusement", 0.7), Reading("excitement", 0.9)]
    assert figures.count_fitting(messages, replies) == {"unpleasant": 2, "cheerful": 1}


def test_a_reply_that_takes_up_its_message_shares_more_with_it_than_with_another() -> None:
    messages = ["My kite fell into the water.", "Our goat ran away today."]
    assert figures.overlaps(messages, ["Kite, in the water?", "The goat ran far!"]) == {"own": 1.0, "other": 0.0}
    same = figures.overlaps(messages, ["Tell me about water."] * 2)
    assert same["own"] == same["other"] > 0
    assert figures.overlaps([], []) == {"own": None, "other": None}


def test_speed_is_the_servers_own_and_none_where_nothing_was_generated() -> None:
    metrics = {
        'empathetic_generated_tokens_total{generator="embedded"}': 100.0,
        'empathetic_generated_tokens_total{generator="written"}': 7.0,
    }
    found = figures.speed([said(first=10.0), said(first=30.0), said(first=None), said(first=50.0, classify=None)], metrics, "embedded")
    assert (found["first_token_p50_ms"], found["first_token_beyond_classification_p50_ms"]) == (30.0, 28.0)
    assert found["tokens_per_s"] == pytest.approx(100 / (0.018 * 3 + 0.020))
    nothing = figures.speed([said(first=None)], metrics, None)
    assert (nothing["first_token_p50_ms"], nothing["tokens_per_s"]) == (None, None)


def test_openings_are_those_held_out_or_those_of_the_test_split(tmp_path: Path) -> None:
    data = write_dialogues(tmp_path / "data")
    every = read_openings(data, held_out_percent=100, is_test=False)
    some = read_openings(data, held_out_percent=50, is_test=False)
    assert 0 < len(some.texts) < len(every.texts)
    assert set(some.texts) < set(every.texts)
    assert read_openings(data, held_out_percent=50, is_test=False) == some
    test = read_openings(data, held_out_percent=50, is_test=True)
    assert not set(test.texts) & set(every.texts)
    assert "test" in test.name
    assert "test" not in some.name


def test_openings_of_the_original_files_get_their_commas_back(tmp_path: Path) -> None:
    (tmp_path / "dialogue").mkdir()
    row = {"id": "hit:1_conv:2", "turns": [{"role": "speaker", "text": "Well_comma_  my kite"}]}
    with lzma.open(tmp_path / "dialogue" / "empathetic_dialogues_test.jsonl.xz", "wt") as file:
        file.write(json.dumps(row) + "\n")
    assert read_openings(tmp_path, held_out_percent=1, is_test=True).texts == ("Well, my kite",)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_drawn_by_the_seed(tmp_path: Path, seed: int) -> None:
    data = write_dialogues(tmp_path / "data")
    drawn = read_openings(data, held_out_percent=100, is_test=False, seed=seed).texts
    assert drawn != tuple(sorted(drawn))
