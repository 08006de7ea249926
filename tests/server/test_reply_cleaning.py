from __future__ import annotations

import re
import unicodedata
from typing import Literal, get_args

import pytest
from empathetic_server.prompting import SYSTEM_PROMPT
from empathetic_server.reply_cleaning import ReplyCleaner
from empathetic_server.special_tokens import find_special_token
from hypothesis import example, given
from hypothesis import strategies as st

Reason = Literal["stop", "length", "broken", "stopped"]
CLOSING = re.compile(r"… (sorry|hm), [^?]+\?$")


def cleaner(name: str | None = None, *, name_used: bool = False) -> ReplyCleaner:
    return ReplyCleaner(SYSTEM_PROMPT, name, name_used)


def clean(*pieces: str, reason: Reason = "stop", name: str | None = None, name_used: bool = False) -> str:
    """What a person has read in the end."""
    cleaning = cleaner(name, name_used=name_used)
    return "".join(map(cleaning.feed, pieces)) + cleaning.finish(reason)


CLEAN_REPLIES = [
    "That sounds really hard. What happened next?",
    "I'm so sorry about your cat. She sounds like she was a lovely part of your days.",
    "Oh no, that's a lot for one week! Which part weighs on you most?",
    "Well… it makes sense that you're tired after all that.",
    'Saying "no" to her took courage. I hope you can rest a bit (you earned it).',
    "Dr. Lee said 3.5 hours, e.g. at 5 p.m. today? That's long.",
    "Yay, you did it 😊",
    "I am an AI, so I can't hug you. I can listen, though.",
]


@pytest.mark.parametrize("reply", CLEAN_REPLIES)
def test_a_clean_reply_passes_unchanged(reply: str) -> None:
    assert clean(*reply) == reply
    assert clean(reply, reason="length") == reply or reply.endswith("😊")


plain_sentences = st.lists(
    st.lists(st.sampled_from(["there", "was", "something", "kind", "in", "what", "told", "me"]), min_size=2, max_size=12),
    min_size=1,
    max_size=3,
).map(lambda sentences: " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences))


@given(plain_sentences)
def test_plain_sentences_pass_unchanged(reply: str) -> None:
    assert clean(reply) == reply


def test_a_word_is_shown_as_soon_as_it_is_complete() -> None:
    cleaning = cleaner()
    assert [cleaning.feed(piece) for piece in ["Th", "at", " so", "unds", " hard", ". "]] == ["", "", "That", "", " sounds", " hard."]


def test_a_beginning_is_held_only_while_it_can_become_a_formula() -> None:
    cleaning = cleaner()
    assert [cleaning.feed(word) for word in ["I ", "understand ", "how ", "he ", "did "]] == ["", "", "", "I understand how he", " did"]


@pytest.mark.parametrize(
    "sentence",
    [
        "I understand how you feel, and it is hard.",
        "I hear you.",
        "I\u2019m here for you, always.",
        "I am here to listen.",
        "Oh, I'm all ears!",
        "Well, I'm so sorry, but I understand how you're feeling.",
        "Hey Ana, I'm here for you.",
        "Let me know if there's anything else.",
        "It is okay to feel this way.",
        "Your feelings are valid.",
        "Remember, you are strong.",
        "As an AI language model, I can't.",
        "As a therapist, I would say no.",
        "Based on the emotion, she is sad.",
        "(Note that the user is sad.)",
        "Note: the user is sad.",
        "This response is supportive.",
        "You are Mira, an AI companion for people who want more.",
        "What to do in this reply is to reflect.",
    ],
)
def test_formulas_meta_talk_and_the_prompt_are_dropped_whole(sentence: str) -> None:
    assert clean(f"{sentence} What happened?", name="Ana") == "What happened?"
    assert clean(f"Oh no! {sentence}", name="Ana") == "Oh no!"


def test_a_word_that_only_looks_like_a_formula_stays() -> None:
    reply = "Remember when you laughed about it? I heard you did. Your feelings changed."
    assert clean(reply) == reply


def test_an_announcement_on_its_own_line_is_dropped_and_the_reply_kept() -> None:
    assert clean("Here is a response:\n\nMira: That hurts.") == "That hurts."


@pytest.mark.parametrize(
    "end",
    [
        "<|im_end|>",
        "</s>",
        "[INST]",
        "[/INST]",
        "<|eot_id|>x",
        "\nUser: hi",
        "\nHuman: hi",
        "\nMira: hi",
        " User: hi",
        "\n### Input",
        "\nuser: hi",
    ],
)
def test_a_special_token_or_another_speaker_ends_the_reply_wherever_it_is_split(end: str) -> None:
    text = f"That hurts.{end} more"
    for cut in range(len(text)):
        assert clean(text[:cut], text[cut:]) == "That hurts."


@pytest.mark.parametrize("reason", ["stop", "length", "broken"])
def test_a_sentence_that_a_special_token_ends_gets_one_final_mark(reason: Reason) -> None:
    assert clean("That hurts<|im_end|>") == "That hurts."
    assert clean("That hurts<|im_end|> ", reason=reason) == "That hurts."


def test_the_cleaner_says_that_the_reply_has_ended() -> None:
    cleaning = cleaner()
    assert cleaning.feed("That hurts<|im_end|> ") == "That hurts."
    assert cleaning.ended
    assert cleaning.feed("More. ") == cleaning.finish("length") == ""


@pytest.mark.parametrize("label", ["Mira: ", "**Mira:** ", "Mira:\n", "### Response:\n", "Assistant: "])
def test_a_label_at_the_beginning_is_skipped(label: str) -> None:
    assert clean(f"{label}That hurts.") == "That hurts."


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"That hurts. Really."', "That hurts. Really."),
        ("“That hurts.”", "That hurts."),
        ("That is **very** hard, `you` _know_ *it*.", "That is very hard, you know it."),
        ("# Title\n- One.\n* Two.\n1. Three.", "Title One. Two. Three."),
        ("*smiles warmly* Hi there.", "Hi there."),
        ("(smiles) Hi (gently nods) there (nods).", "Hi there."),
        ("Hi [Name], hello.", "Hi, hello."),
        ("I know (and he does, too) it.", "I know (and he does, too) it."),
        ("(this is an aside that goes on for long) ok.", "(this is an aside that goes on for long) ok."),
        ("One.\n\nTwo.\tThree.", "One. Two. Three."),
        ("Wow!!! What?!? Hm....", "Wow! What? Hm…"),
        ("wow.That is it .", "Wow. That is it."),
        ("yes", "Yes."),
        ("yes ,", "Yes."),
        ("yes -", "Yes."),
        ("I see: that", "I see: that."),
        ("Oh… That is it. And the U.S. is big.", "Oh… That is it. And the U.S. is big."),
        ("fine 😊", "Fine 😊"),
        ("Fine. 😊 And you?", "Fine. 😊 And you?"),
        ("😊 Fine.", "Fine."),
        ("fine :)", "Fine :)"),
        ("fine <3", "Fine <3."),
        (" \n ", ""),
    ],
)
def test_markup_and_sloppy_writing_are_mended(written: str, shown: str) -> None:
    assert clean(*written) == shown


@pytest.mark.parametrize(
    ("written", "name_used", "shown"),
    [
        ("Hey Ana, that hurts, Ana! Really, Ana.", False, "Hey Ana, that hurts! Really."),
        ("Hey Ana, that hurts, Ana! Ana, really?", True, "Hey, that hurts! Really?"),
        ("Thanks Ana! You know Ana, it hurts.", True, "Thanks! You know, it hurts."),
        ("Honestly, Ana that hurts.", True, "Honestly, that hurts."),
        ("So I may call you Ana.", True, "So I may call you Ana."),
        ("Anatomy, banana, Ana's.", True, "Anatomy, banana, Ana's."),
    ],
)
def test_a_person_is_called_by_name_once_at_most(written: str, name_used: bool, shown: str) -> None:
    assert clean(*written, name="Ana", name_used=name_used) == shown


def test_a_name_of_two_words_is_one_name() -> None:
    assert clean("Mary Ann, hi. I see, Mary Ann. Mary, is", name="Mary Ann") == "Mary Ann, hi. I see. Mary, is."


def test_the_reply_ends_after_three_sentences() -> None:
    cleaning = cleaner()
    assert cleaning.feed("One. Two! Three? ") == "One. Two! Three?"
    assert cleaning.ended


def test_the_reply_ends_at_the_first_sentence_end_after_sixty_words() -> None:
    assert clean("yes " * 61 + "end. More.") == "Yes " + "yes " * 60 + "end."


def test_late_in_a_reply_a_sentence_is_shown_only_when_it_is_complete() -> None:
    cleaning = cleaner()
    cleaning.feed("yes " * 45 + "end. ")
    assert cleaning.feed("This comes late ") == ""
    assert cleaning.feed("too. ") == " This comes late too."


def test_a_late_sentence_that_is_cut_is_not_shown() -> None:
    assert clean("yes " * 45 + "end. This comes la", reason="length").endswith(" end.")


def test_a_sentence_without_end_is_closed_after_120_words() -> None:
    shown = clean("word " * 500)
    assert len(CLOSING.sub("", shown).split()) == 120
    assert CLOSING.search(shown)
    assert clean("word " * 120 + "word</s> ") == shown


@pytest.mark.parametrize("reason", ["length", "broken"])
def test_a_cut_sentence_that_was_shown_gets_a_closing(reason: Reason) -> None:
    shown = clean("That hurts. I think, it wou", reason=reason)
    assert shown.startswith("That hurts. I think, it… ")
    assert CLOSING.search(shown)


@pytest.mark.parametrize("reason", ["length", "broken"])
def test_a_cut_sentence_that_was_not_shown_is_dropped(reason: Reason) -> None:
    assert clean("That hurts. I'm here", reason=reason) == "That hurts."
    assert clean("I understand", reason=reason) == ""


def test_after_a_stop_nothing_more_is_shown() -> None:
    cleaning = cleaner()
    assert cleaning.feed("That hurts, my fri") == "That hurts, my"
    assert cleaning.finish("stopped") == ""


PIECES = [
    *[
        "<|im_end|>",
        "</s>",
        "[INST]",
        "<",
        "|",
        "[",
        "]",
        "s>",
        "INST",
        "User:",
        "user:",
        "User",
        ":",
        "Mira:",
        "AI:",
        "###",
        "\n",
        " ",
        " ",
    ],
    *["I", "'m", "here", "for", "you", "I hear you", "Note:", "Oh,", "so", "that", "hurts", "The user", "e.g.", "3.5", "1.", "Remember,"],
    *["*", "**", "_", "(", ")", "smiles", '"', "“", "”", "…", ".", "!", "?", ",", "-", "—", "😊", ":)", "<3", "Ana", ", Ana", "Mary Ann"],
    *["＜", "￨", "\uff1a", "`", "yes " * 30, "Ünï", "了", "ß"],  # noqa: RUF001  # look-alikes
]
replies = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=40).map("".join)
names = st.sampled_from([None, "Ana", "Mary Ann", "J."])


def properly_ended(text: str) -> bool:
    last = text.rpartition(" ")[2]
    return (
        text == ""
        or bool(re.search(r"[.!?…)][\"'\u2019”]*$", text))
        or any(unicodedata.category(c) == "So" for c in last)
        or last in (":(", ";(")
    )


@given(replies, st.lists(st.integers(0, 400)), st.sampled_from(get_args(Reason)), names, st.booleans())
def test_what_is_shown_does_not_depend_on_the_chunks(
    reply: str, cuts: list[int], reason: Reason, name: str | None, name_used: bool
) -> None:
    borders = [0, *sorted(cuts), len(reply)]
    pieces = [reply[start:end] for start, end in zip(borders, [*borders[1:], len(reply)], strict=True)]
    whole = clean(reply, reason=reason, name=name, name_used=name_used)
    assert clean(*pieces, reason=reason, name=name, name_used=name_used) == whole
    assert clean(*reply, reason=reason, name=name, name_used=name_used) == whole


@given(replies, st.sampled_from(["stop", "length", "broken"]), names)
@example("That is it <, fine <. <!", "stop", None)
@example("okay.User: hi", "stop", None)
def test_no_markup_and_no_half_sentence_is_shown(reply: str, reason: Reason, name: str | None) -> None:
    shown = clean(reply, reason=reason, name=name)
    assert find_special_token(shown) is None
    assert not re.search(r"[\[\]*`\n]|(?<!\w)(User|Human|Assistant|Mira|System):|^user:|  ", shown)
    assert properly_ended(shown)
    assert len(shown.split()) <= 140


def test_a_long_reply_in_single_characters_takes_linear_time() -> None:
    for piece in ["a", "*", "_", "-", "(", ")", ".", "<3", "“", "a_", ":", "a:", "#", "Ana", "\u2014a", "so ", "😊 "]:
        clean(*piece * (100_000 // len(piece)), name="Ana")
