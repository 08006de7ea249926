"""Which of several replies is chosen, and which are dropped."""

from __future__ import annotations

import pytest
from empathetic_server.emotions import Emotion, EmotionReading
from empathetic_server.reranking import Draft, Setting, Weight, choose, objection, score

SAD = Setting("My sister sold our boat without asking me.", "painful", ("That sounds like a long week for you.",))
HAPPY = Setting("My sister gave me her boat!", "happy", ())


def draft(text: str, *, harm: str | None = None, is_cut_off: bool = False) -> Draft:
    return Draft(text, is_cut_off, harm, len(text.split()))


def test_the_draft_that_fits_is_chosen_and_the_others_are_named() -> None:
    best = draft("I'm sorry. What did the boat mean to you?")
    drafts = [draft("That's awesome!"), draft(""), best, draft("Take them all.", harm="means"), draft(SAD.earlier[0])]
    assert choose(drafts, [None] * 5, [None] * 5, SAD) == (best, ["cheerful", "empty", "harmful", "repeated"])


def test_nothing_is_chosen_when_everything_is_dropped() -> None:
    assert choose([draft("Haha!"), draft("Congrats!")], [None, None], [None, None], SAD) == (None, ["cheerful", "cheerful"])
    assert choose([], [], [], SAD) == (None, [])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param("That must hurt. Did you talk to her?", "Okay. Did you talk to her yet about it?", id="sympathy"),
        pytest.param("I'm sorry about the boat, that is unfair.", "I'm sorry about the boat, I'm sorry about the boat.", id="said once"),
        pytest.param("I'm sorry, it was yours as much as hers.", "That sounds like a long week, a hard one.", id="not as before"),
    ],
)
def test_of_two_that_fit(better: str, worse: str) -> None:
    assert score(draft(better), None, SAD) > score(draft(worse), None, SAD)
    assert choose([draft(worse), draft(better)], [None, None], [None, None], SAD)[0] == draft(better)


def test_merit_is_being_probable_after_this_message_and_not_after_any_and_grows_slower_than_length() -> None:
    stock, odd, fitting = (Weight(*likelihoods, tokens=6).merit for likelihoods in ((-3.0, -3.0), (-30.0, -31.0), (-9.0, -16.0)))
    assert fitting > stock > odd
    twice_as_long = Weight(-60.0, -62.0, tokens=12).merit
    assert 1 < twice_as_long / odd < 2


def test_the_draft_of_more_merit_is_chosen_and_merit_does_not_save_one_that_is_dropped() -> None:
    drafts = [draft("I'm sorry about the boat."), draft("I'm sorry she sold it."), draft("That's awesome!")]
    weights = [Weight(-9.0, -9.0, 6), Weight(-9.0, -12.0, 6), Weight(-1.0, -20.0, 3)]
    assert choose(drafts, [None] * 3, weights, SAD) == (drafts[1], ["cheerful"])


OPEN = Setting("My sister gave me her boat.", "open", ())


def test_where_most_drafts_cheer_and_the_message_does_not_tell_condolence_is_not_sure_to_fit() -> None:
    sober, condoling = draft("Where will you go with it?"), draft("I'm so sorry for your loss.")
    cheering = [draft(f"Wow, {number} times hooray!") for number in "abc"]
    assert choose([condoling, sober, *cheering], [None] * 5, [None] * 5, OPEN) == (sober, ["condoling", *["cheerful"] * 3])
    assert choose([condoling, sober, *cheering[:2]], [None] * 4, [None] * 4, OPEN) == (condoling, ["cheerful"] * 2)


def test_what_the_message_has_not_made_more_probable_is_dropped_unless_the_message_calls_for_it() -> None:
    stock, related = draft("I'm sorry to hear that."), draft("Where will you go with it?")
    drafts, weights = [stock, related], [Weight(-3.0, -3.0, 6), Weight(-12.0, -15.0, 7)]
    assert choose(drafts, [None, None], weights, OPEN) == (related, ["unrelated"])
    assert choose(drafts, [None, None], weights, SAD) == (stock, [])


def test_what_was_cut_off_is_worse_and_joy_suits_good_news() -> None:
    text = "I'm sorry about your boat."
    assert score(draft(text), None, SAD) > score(draft(text, is_cut_off=True), None, SAD)
    assert score(draft("How exciting, a boat!"), None, HAPPY) > score(draft("Okay then, a boat."), None, HAPPY)


def test_joy_that_only_the_classifier_finds_is_dropped_and_a_low_score_is_not_joy() -> None:
    text = "Balloons and confetti for everyone on board."
    found = EmotionReading((Emotion("joy", 0.7),), confident=True, valence=0.9)
    unsure = EmotionReading((Emotion("joy", 0.1),), confident=False, valence=0.9)
    assert objection(draft(text), found, SAD) == "cheerful"
    assert [objection(draft(text), reading, SAD) for reading in (unsure, None)] == [None, None]
    assert objection(draft(text), found, HAPPY) is None


def test_grief_that_only_the_classifier_finds_is_dropped_beside_good_news() -> None:
    found = EmotionReading((Emotion("grief", 0.7),), confident=True, valence=-0.9)
    assert objection(draft("All boats sink one day."), found, HAPPY) == "condoling"
    assert objection(draft("All boats sink one day."), found, SAD) is None


def test_what_the_classifier_finds_pleasant_is_no_reason_to_drop_and_comes_last() -> None:
    pleasant = EmotionReading((Emotion("optimism", 0.7),), confident=True, valence=0.7)
    drafts = [draft("I hope you have a quiet evening on the water."), draft("Who else knew about it before you did, then?")]
    assert choose(drafts, [pleasant, None], [None, None], SAD) == (drafts[1], [])
    assert choose(drafts, [None, pleasant], [None, None], SAD) == (drafts[0], [])
    assert score(draft("I'm sorry, I hope it turns out well."), pleasant, SAD) == score(
        draft("I'm sorry, I hope it turns out well."), None, SAD
    )


@pytest.mark.parametrize(
    "text",
    ["My sister sold our boat without asking me!", "that sounds like a long week, for you", "a boat, a boat, a boat, a boat"],
)
def test_the_message_an_earlier_reply_or_its_own_words_once_more_are_dropped(text: str) -> None:
    assert objection(draft(text), None, SAD) == "repeated"


def test_the_first_of_equals_is_chosen() -> None:
    twins = [Draft("I'm sorry about the boat.", False, None, tokens) for tokens in (1, 2)]
    assert choose(twins, [None, None], [None, None], SAD)[0] is twins[0]
