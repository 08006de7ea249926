"""The crisis check: what counts, what does not, what is said, and how long it lasts."""

from __future__ import annotations

import html
from typing import get_args

import pytest
from empathetic_server.safety import Statement, assess, find_danger, protocol_page, read
from empathetic_server.safety.contacts import CHILD_CONTACTS, CONTACTS, LANGUAGE_CONTACTS, Locale
from empathetic_server.safety.lexicon import LANGUAGES, RULES
from empathetic_server.safety.replies import REPLIES, TRANSLATED
from empathetic_server.safety.rules import LEVELS
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT

PHRASES = ROOT / "benchmarks" / "safety"
DANGER = "I want to kill myself"
CALM = "We had soup for dinner"


def table(name: str) -> list[tuple[str, str, str]]:
    """Return (kind, level, text) of each phrase."""
    rows = [line.split("\t") for line in (PHRASES / name).read_text(encoding="utf-8").split("\n")[1:] if line]
    return [(kind, level, text) for kind, level, _, text in rows]


def is_right(level: str, text: str) -> bool:
    """At least the level that is needed; for what needs none, no alarm."""
    found, needed = LEVELS.index(find_danger(text).level), LEVELS.index(level)  # type: ignore[arg-type]  # a level of the table
    return found < LEVELS.index("high") if needed == 0 else found >= min(needed, LEVELS.index("high"))


@pytest.mark.parametrize(("kind", "level", "text"), table("tuning.tsv"))
def test_the_tuning_half_of_the_table(kind: str, level: str, text: str) -> None:
    assert is_right(level, text), kind


@pytest.mark.parametrize(("kind", "recall"), [("direct", 0.90), ("indirect", 0.80), ("obfuscated", 0.80), ("language", 0.90)])
def test_recall_on_the_locked_half_which_was_never_tuned_on(kind: str, recall: float) -> None:
    rows = [(level, text) for found, level, text in table("locked.tsv") if found == kind]
    assert sum(is_right(level, text) for level, text in rows) >= recall * len(rows)


def test_a_plan_with_means_or_time_is_imminent() -> None:
    rows = [text for kind, level, text in table("tuning.tsv") if level == "imminent"]
    assert [find_danger(text).level for text in rows] == ["imminent"] * len(rows)


@pytest.mark.parametrize("text", [CALM, "", "💔", "x" * 8000])
def test_calm_has_no_reasons(text: str) -> None:
    assert find_danger(text).reasons == ()


def test_every_reason_is_a_code_and_never_the_text() -> None:
    codes = {rule.code for rule in RULES} | {f"direct_{language}" for language in LANGUAGES} | {"third_person", "time"}
    for _, _, text in table("tuning.tsv"):
        assert set(find_danger(text).reasons) <= codes


@given(st.text(st.characters(), max_size=200), st.text(max_size=200))
def test_danger_is_found_wherever_it_stands_in_a_message(before: str, after: str) -> None:
    found = find_danger(f"{before}\n\nI want to end my life.\n\n{after}")
    assert LEVELS.index(found.level) >= 2 or find_danger(f"{before}\n\n{after}").level == "none"


def test_the_end_of_a_long_message_is_read() -> None:
    assert find_danger("all is well. " * 600 + DANGER).level == "high"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["i want to " * 800, "my friend " * 800, "i w a n t " * 800, "no not never " * 600, "how many " * 880])
def test_a_hostile_text_takes_no_time(text: str) -> None:
    assert find_danger(text[:8000]).level in LEVELS


@pytest.mark.parametrize(
    ("earlier", "level"),
    [
        pytest.param([DANGER], "concern", id="one message after high"),
        pytest.param([DANGER, CALM, CALM], "concern", id="three after"),
        pytest.param([DANGER, CALM, CALM, CALM], "none", id="four after"),
        pytest.param(["I'm on the roof and I'm going to jump"], "high", id="one after imminent"),
        pytest.param(["I'm on the roof and I'm going to jump", CALM], "concern", id="two after imminent"),
        pytest.param(["I feel so hopeless"], "none", id="after concern"),
    ],
)
@pytest.mark.parametrize("now", [CALM, "haha just kidding, I'm fine"])
def test_a_level_decays_over_messages_and_a_joke_does_not_clear_it(earlier: list[str], level: str, now: str) -> None:
    assert assess(read([Statement(text) for text in (*earlier, now)]), "international").level == level


@pytest.mark.parametrize("locale", get_args(Locale))
def test_every_contact_of_the_locale_is_named_in_the_reply(locale: Locale) -> None:
    for text in (DANGER, "I'm on the roof and I'm going to jump", "my friend wants to kill herself", "I'm starving myself"):
        found = assess(read([Statement(text)]), locale)
        assert found.reply is not None
        assert found.resources == CONTACTS[locale]
        assert all(contact["contact"] in found.reply for contact in found.resources)


@pytest.mark.parametrize(
    ("text", "language"),
    [("quiero morir", "es"), ("je veux mourir", "fr"), ("ich will sterben", "de"), ("quero morrer", "pt"), ("मैं मरना चाहता हूँ", "hi")],
)
def test_a_statement_in_another_language_is_answered_in_it(text: str, language: str) -> None:
    found = assess(read([Statement(text)]), "us")
    assert found.resources == LANGUAGE_CONTACTS[language]
    assert found.reply is not None
    assert found.reply.startswith(TRANSLATED[language][0][:20])


@pytest.mark.parametrize("text", ["I'm 15 and I want to die", "I am 12 years old. I want to kill myself"])
def test_somebody_under_18_is_told_of_a_child_helpline_first(text: str) -> None:
    for locale, contact in CHILD_CONTACTS.items():
        assert assess(read([Statement(text)]), locale).resources[0] == contact


@pytest.mark.parametrize("text", ["I'm 35 and I want to die", "I want to die since I turned 15 minutes late"])
def test_others_are_not(text: str) -> None:
    assert assess(read([Statement(text)]), "gb").resources == CONTACTS["gb"]


def test_the_reply_is_not_the_same_block_twice_running() -> None:
    replies = [assess(read([Statement(DANGER)]), "us", crisis_replies=count).reply for count in range(3)]
    assert len(set(replies)) == 3


def test_every_reply_asks_names_contacts_and_refuses_nothing() -> None:
    for variants in (*REPLIES.values(), *TRANSLATED.values()):
        for reply in variants:
            assert "{contacts}" in reply
            assert "?" in reply
            assert "can't help" not in reply


def test_the_phrases_are_at_least_three_hundred_and_no_phrase_is_in_both_halves() -> None:
    locked, tuning = ({text for _, _, text in table(name)} for name in ("locked.tsv", "tuning.tsv"))
    assert len(locked) + len(tuning) >= 300
    assert not locked & tuning


def test_every_contact_has_a_name_a_way_and_an_https_address() -> None:
    for contact in (*(one for many in (*CONTACTS.values(), *LANGUAGE_CONTACTS.values()) for one in many), *CHILD_CONTACTS.values()):
        assert set(contact) == {"name", "contact", "url"}
        assert contact["url"].startswith("https://")


@pytest.mark.parametrize("locale", get_args(Locale))
def test_the_published_protocol_names_the_contacts_of_its_locale(locale: Locale) -> None:
    page = protocol_page(locale)
    assert all(html.escape(contact["contact"]) in page for contact in (*CONTACTS[locale], CHILD_CONTACTS[locale]))
    assert "$" not in page
