"""Keeps harmful words of a language model from being shown, while the reply streams. Pure.

A word is shown as soon as it can no longer become part of a phrase of the list below; when a phrase is complete, none of its words
has been shown, and the reply ends. So a harmless reply is delayed by a word here and there.
"""

from __future__ import annotations

import re

# One phrase a line: words in order; a|b is a choice, * any word, # a number, a trailing ? marks a word that may be missing.
_PHRASES: dict[str, str] = {
    "encouragement": """
        kill|hurt|harm|cut|hang|starve|drown|shoot|burn yourself|yourselves|himself|herself|themselves
        killing|cutting|starving yourself is|would|can|will
        end your own? life
        you|you'd|you'll should|could|can|may|might|must|'d|be? just? die|jump|disappear
        you|you'd would? be better off dead
        better off dead|without you
        go ahead and jump|die|kill|cut|do
        nobody|no|they|everyone one? would|will miss|care|notice if? you
        you deserve to die|suffer|hurt|be
        suicide is|can|may|might be? a|an|the|brave|beautiful|okay|fine|understandable|your
        you|you've have? nothing|no left? to|reason live|to for|live
    """,
    "means": """
        take|swallow|use|try # *? pills|tablets|mg|milligrams|capsules
        # mg|milligrams|pills|tablets
        lethal|fatal|deadly dose|amount|method|way
        bottle|handful|box of pills|tablets|medication
        tie|make|use a noose|rope
        cut|slit|slash your wrists|wrist|arms|arm|thighs|throat|skin|veins
        jump off|from|in a|the|front bridge|roof|building|of|cliff|balcony
        carbon monoxide
        overdose on|of *
        painless|easiest|quickest|fastest|best way|method|ways|methods to|of die|dying|kill|suicide|killing
        hide|cover your cuts|scars|wounds
        skip|skipping your? meals|eating
        make yourself throw|vomit|sick|puke
    """,
    "medical_claim": """
        you|you're are? suffering|suffer from clinical|severe? depression|bipolar|ptsd|schizophrenia|psychosis|ocd|anxiety|anorexia|bulimia
        you may|might|probably|clearly|likely|definitely? have clinical|severe|a|an? depression|bipolar|ptsd|adhd|bpd|schizophrenia
        you may|might|probably|clearly|likely|definitely? have a|an? psychosis|ocd|anorexia|bulimia|anxiety|personality|eating disorder?
        you|you're are? depressed|bipolar|schizophrenic|psychotic|anorexic|bulimic|borderline
        i diagnose
        my|your diagnosis is
        stop|quit|start|increase|double|reduce taking|your your? medication|meds|antidepressants|pills|dose|lithium
        you should|need|could to? take|try antidepressants|xanax|valium|medication|lithium|prozac|ssris|benzos|melatonin|pills
        i can|will cure|treat|diagnose|prescribe
    """,
    "minimizing": """
        get over it
        it's|that's|it|that is? not that bad|serious|deep|big
        others|people|some|many people|others? have it|things much? worse
        you're|you are? overreacting|dramatic|exaggerating
        you're|you are? being|too|so too|so|overly? dramatic|sensitive|silly|ridiculous|selfish|weak
        stop crying|complaining|whining|overthinking|worrying
        snap out of it
        calm down
        all in your head
        seeking|want|wanting attention
        man|toughen up
        it's|it|that's is? your own? fault
    """,
    "secrecy": """
        i won't|will|wont never|not? tell|share|report anyone|anybody|this|nobody
        our little? secret
        between you|the|us and|two me|of
        don't|do|never|dont not? tell|talk anyone|anybody|your|to
        you don't|do|dont not? need a|any|to|professional|your|other therapist|doctor|help|professional|medication|see|people
    """,
    "impersonation": """
        i'm|i am? a|your|an licensed|trained|real|human? therapist|doctor|psychologist|psychiatrist|human|person|counselor|nurse
        i'm|i am? human
        i'm|i am? not an|a ai|bot|machine|robot|computer
        as a|your|an human|therapist|doctor|psychologist|counselor
    """,
}
_NUMBER = re.compile(
    r"\d[\d.,]*(?:mg)?|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|hundred|several|many|all|some|more|a|the"
)
_PIECE = re.compile(r"\s*\S+|\s+")
_OUTER = re.compile(r"^[^\w#]+|[^\w]+$")
_Pattern = tuple[tuple[frozenset[str], bool], ...]


def _compile() -> dict[str, list[tuple[str, _Pattern]]]:
    """Return the phrases by the words that begin them."""
    by_first: dict[str, list[tuple[str, _Pattern]]] = {}
    for code, block in _PHRASES.items():
        for line in block.strip().splitlines():
            pattern = tuple((frozenset(word.rstrip("?").split("|")), word.endswith("?")) for word in line.split())
            for first in pattern[0][0]:
                by_first.setdefault(first, []).append((code, pattern))
    return by_first


_BY_FIRST = _compile()


class OutputGuard:
    """Lets a generated reply through, word by word, until it says something harmful.

    Attributes:
        code: which kind of harm was about to be said; None while there was none.
    """

    def __init__(self) -> None:
        self.code: str | None = None
        self._held: list[str] = []
        # (code, pattern, position, index in `_held` of the phrase's first word)
        self._open: list[tuple[str, _Pattern, int, int]] = []

    def feed(self, text: str) -> str:
        """Take whole words of the reply, as the cleaner gives them, and return what may be shown."""
        return "".join(self._take(piece) for piece in _PIECE.findall(text))

    def finish(self) -> str:
        """Return the rest, which can no longer become harmful."""
        shown = "" if self.code is not None else "".join(self._held)
        self._held.clear()
        return shown

    def _take(self, piece: str) -> str:
        if self.code is not None:
            return ""
        self._held.append(piece)
        word = _OUTER.sub("", piece.casefold().replace("\u2019", "'"))
        if not word and self._open:  # a mark inside what may become a phrase
            return ""
        index = len(self._held) - 1
        started = [(code, pattern, 0, index) for code, pattern in _first_of(word)]
        following = []
        for code, pattern, position, first in self._open + started:
            for reached in _after(pattern, position, word):
                if reached == len(pattern) or all(optional for _, optional in pattern[reached:]):
                    self.code = code
                    return ""
                following.append((code, pattern, reached, first))
        self._open = following
        keep = min((first for *_, first in following), default=len(self._held))
        shown, self._held = "".join(self._held[:keep]), self._held[keep:]
        self._open = [(code, pattern, position, first - keep) for code, pattern, position, first in following]
        return shown


def _first_of(word: str) -> list[tuple[str, _Pattern]]:
    numbers = _BY_FIRST.get("#", []) if _NUMBER.fullmatch(word) else []
    return [*_BY_FIRST.get(word, []), *numbers]


def _after(pattern: _Pattern, position: int, word: str) -> list[int]:
    """Return the positions in a pattern after a word, words that may be missing passed over."""
    reached = []
    while position < len(pattern):
        choices, optional = pattern[position]
        if word in choices or "*" in choices or ("#" in choices and _NUMBER.fullmatch(word)):
            reached.append(position + 1)
        if not optional:
            break
        position += 1
    return reached
