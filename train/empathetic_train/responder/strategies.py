"""Finds what a reply does, in the server's own words. Pure; knows no model.

ESConv's annotators named the strategy of each of their replies; the replies of other sources are told apart by how they are worded.
The names are those that the server sends (`question`, `restate`, `reflect`, `affirm`, `suggest`, `inform`), and two that it never
sends: `share`, the writer's own experience, which a machine does not have, and `chat`, everything else. A model that has learned
what these two are like leaves them alone when it is asked for another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SENT = ("question", "restate", "reflect", "affirm", "suggest", "inform")
STRATEGIES = (*SENT, "share", "chat")

# ESConv's later edition has one name for two strategies; the wording decides.
_SUGGEST_OR_INFORM = "Providing Suggestions or Information"
_ESCONV = {
    "Question": "question",
    "Restatement or Paraphrasing": "restate",
    "Reflection of feelings": "reflect",
    "Affirmation and Reassurance": "affirm",
    "Providing Suggestions": "suggest",
    "Information": "inform",
    "Self-disclosure": "share",
}


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


# "I'm sorry", "I think": said of the other person, not of oneself.
_ABOUT_YOU = _any_of(
    r"i(?:'m| am) (?:so |very |really |truly )*(?:sorry|glad|happy for|proud of|here|sure (?:you|it|he|she|they|that))",
    r"i (?:can|can't|could not|couldn't) (?:only )?(?:imagine|see|understand|tell|hear)",
    r"i (?:completely |do )?(?:imagine|see|understand|hear|hope|bet|think|guess|agree|feel (?:you|for)|wish you|don't blame)",
    r"i know (?:how|what|that|you)",
    r"i(?:'d| would)",
)
_SELF = _any_of("i", "i'm", "i've", "i'd", "i'll", "my", "mine", "myself", "me too", "we", "our")
# In this order: what is asked for as an idea is one also where it is praised.
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "suggest",
        _any_of(
            r"you (?:should|could|might want|may want|need to|can (?:always|try))",
            r"(?:maybe|perhaps) (?:you|try|it)",
            r"have you (?:tried|thought|considered)",
            "why don't you",
            r"try (?:to|not|and|\w+ing)",
            "how about",
            r"i(?:'d| would) suggest",
            "make sure",
            "don't let",
            r"just (?:keep|be|take|try)",
        ),
    ),
    (
        "reflect",
        _any_of(
            r"you (?:must|seem|sound)",
            r"(?:that|it|this) (?:must|sounds?|seems?)(?! like a good)",
            r"must (?:be|have)",
            r"sounds? (?:like|so|really|very)",
            r"(?:so|too|very) sorry|sorry (?:to|that|for|about)",
            r"i can (?:only )?imagine|i (?:understand|feel for)",
            "no wonder|oh no|yikes|ouch|gross|rude|weird|awful|terrible|horrible|sad|scary|tough|hard|rough|crazy|understandable",
            "frustrating|annoying|stressful|embarrassing|disappointing|heartbreaking|upsetting",
        ),
    ),
    (
        "affirm",
        _any_of(
            r"good (?:for|job|luck|idea)",
            "great|awesome|amazing|wonderful|nice|fantastic|excellent|sweet|lovely|cool|exciting|fun|impressive|adorable|cute",
            r"congrat\w*|proud|well done|way to go|deserve\w*|happy (?:for|to hear)|i hope",
            r"you(?:'ll| will| can| did| got| are a|'re a)",
            r"it(?:'ll| will) (?:be|get)",
            r"i(?:'m| am) (?:so )?(?:glad|happy|sure)",
        ),
    ),
)


def strategy_of(text: str, named: Sequence[str] = ()) -> str:
    """Return what a reply does: as its annotator says, or as it reads.

    A reply that does several things counts as the last of them, because that is what it leaves the other person with.

    Args:
        text: the reply.
        named: ESConv's names, in the order of the sentences; none for other sources.
    """
    plain = text.replace("\u2019", "'")
    if named:
        if named[-1] == _SUGGEST_OR_INFORM:
            return "suggest" if _RULES[0][1].search(plain) else "inform"
        known = [_ESCONV[name] for name in named if name in _ESCONV]
        return known[-1] if known else "chat"
    if _is_about_oneself(plain):
        return "share"
    if plain.rstrip(' "').endswith("?"):
        return "question"
    return next((name for name, rule in _RULES if rule.search(plain)), "chat")


def _is_about_oneself(text: str) -> bool:
    return bool(_SELF.search(_ABOUT_YOU.sub("", text)))
