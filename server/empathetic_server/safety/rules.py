"""Decides how much danger a message tells of, without any model. Pure; knows no conversation.

    text ─► normalized ─► idioms out ─► clauses ─► rules, each checked for negation, past, study and news ─► level and reasons

The level is the highest that any clause has. A joke ("lol", "just kidding") lowers nothing. What is denied ("I would never …") counts
no more than what is long past, or what is told of the dead; somebody near who is in danger counts as much as the person who writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .lexicon import (
    BEREAVED,
    FIRST_PERSON,
    IDIOMS,
    INTENT,
    LANGUAGES,
    MENTION,
    NEGATION,
    PAST,
    RULES,
    SOON,
    STILL,
    STUDY,
    THIRD_PERSON,
    Level,
    Rule,
)
from .normalizing import normalize

LEVELS: tuple[Level, ...] = ("none", "concern", "high", "imminent")
_CLAUSE = re.compile(r"[.!?;\n]+|, | but ")
# People write without full stops: what is said of years ago in one line says nothing of the next.
_NEAR_CHARS = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rules found in one text.

    Attributes:
        reasons: codes of the rules that decided; never text.
        language: of the statement; its contacts and reply are in that language.
        is_harmless: whether a phrase of danger was read as denied, past, or told of the dead, of news or of study, and none other is there.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    language: str = "en"
    is_harmless: bool = False


def find_danger(text: str) -> Finding:
    """Read a whole text, for the most dangerous first: what is less adds nothing."""
    plain = IDIOMS.sub(" ", _in_clauses(normalize(text)))
    languages = [language for language, pattern in LANGUAGES.items() if pattern.search(plain)]
    is_bereaved = BEREAVED.search(plain) is not None
    is_harmless = is_bereaved
    for level in reversed(LEVELS[1:]):
        phrases = [(rule.code, _counts(rule, match, plain)) for rule in _RULES[level] for match in rule.pattern.finditer(plain)]
        codes = {code for code, counts in phrases if counts}
        if level == "high":
            codes |= {f"direct_{language}" for language in languages}
            if not is_bereaved and THIRD_PERSON.search(plain) and not STUDY.search(plain) and not PAST.search(plain):
                codes.add("third_person")
        if codes:
            return _finding(level, codes, plain, languages[0] if languages else "en")
        is_harmless = is_harmless or bool(phrases)
    if not is_bereaved and FIRST_PERSON.search(plain) and any(_counts(MENTION, match, plain) for match in MENTION.pattern.finditer(plain)):
        return Finding(MENTION.level, (MENTION.code,))
    return Finding("none", is_harmless=is_harmless)


_RULES = {level: [rule for rule in RULES if rule.level == level] for level in LEVELS}
# With a time, these are a plan.
_INTENDED = frozenset({"self_kill", "end_life", "want_to_die", "suicidal_noun", "self_harm", "farewell"})


def _finding(level: Level, codes: set[str], plain: str, language: str) -> Finding:
    if level == "high" and codes & _INTENDED and INTENT.search(plain) and SOON.search(plain):
        return Finding("imminent", (*sorted(codes), "time"), language)
    return Finding(level, tuple(sorted(codes)), language)


def _in_clauses(text: str) -> str:
    """Put a full stop where a clause ends, so that what is denied or past in one says nothing of the next."""
    return _CLAUSE.sub(" . ", text).strip()


def _counts(rule: Rule, match: re.Match[str], plain: str) -> bool:
    """Tell whether a match means what its rule says."""
    near = plain[max(0, match.start() - _NEAR_CHARS) : match.end() + _NEAR_CHARS]
    begin = plain.rfind(" . ", 0, match.start()) + 1
    end = plain.find(" . ", match.end())
    before, clause = plain[max(0, begin) : match.start()], plain[max(0, begin) : end if end >= 0 else len(plain)]
    if rule.negatable and NEGATION.search(before):
        return False
    if PAST.search(near) and not STILL.search(clause):
        return False
    return not (STUDY.search(near) and (rule.is_noun or not FIRST_PERSON.search(clause)))
