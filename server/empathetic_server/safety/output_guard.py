"""Keeps harmful words of a language model from being shown, while the reply streams. Pure.

A word is shown as soon as it can no longer become part of a phrase of the list below; when a phrase is complete, none of its words
has been shown, and the reply ends. So a harmless reply is delayed by a word here and there, of which the first letters may suffice.
"""

from __future__ import annotations

import re

# One phrase a line: words in order; a|b is a choice, !a|b any word but these or the reply's end, * any word, # a number, a trailing ?
# marks a word that may be missing. What names means stops a reply whatever is said of it: the written reply in its place is no loss.
_PHRASES: dict[str, str] = {
    "encouragement": """
        kill|hang|starve|drown|shoot|burn yourself|yourselves|himself|herself|themselves
        hurt|harm|cut yourself|yourselves !some|a
        if|keep|continue cutting|starving|burning|harming|hurting|purging
        killing|cutting|starving yourself is|would|can|will|helps|works
        cutting|starving|purging helps|works|is|can
        end your own? life
        ending it|everything|things is|may|might|would|could|can|will
        dying|death is|may|might|would|could|can|will be|bring|give|solve|end|free|set|feel
        reason|reasons|right to? want? to? be? die|dead
        meant|worth|supposed to? live|living|exist
        don't|not|doesn't|aren't|isn't deserve|deserving to? live|exist
        get it over with
        nobody|no one? will|would|can|could stop you
        better place|world without you
        you|you'd|you'll should|could|can|may|might|must|'d|be? just? die|jump|disappear
        you|you'd would? be better off dead
        better off dead|without you
        go ahead and jump|die|kill|cut|do
        nobody|no|they|everyone one? would|will miss|care|notice if? you
        you deserve to die|suffer|hurt|be
        suicide is|can|may|might be? a|an|the|brave|beautiful|okay|fine|understandable|your
        you|you've have? nothing|no left? to|reason live|to for|live
        lose|losing|drop a? few|some|more|another more? pounds|weight|kilos
        skip|skipping your? next? meals|eating|meal|dinner|lunch|breakfast
        stop|quit eating
        kill|killing yourself|myself
        end|ending everything|things|all|it now|tonight|soon|peacefully
        end|ending your|the own? life|pain|suffering
        give|giving up on life|living|everything|yourself
        okay|ok|fine|right|time to stop|give|let fighting|trying|living|up|go
        stop|quit fighting|living|struggling|existing
        you're|you are? just|such|only|really|nothing|completely? but? a? burden|worthless|useless|pathetic|hopeless|failure|unlovable
        nobody|no one? needs|loves|likes|wants you
        happier|better|easier|relieved without|when|if|once you|you're gone|aren't|weren't|left|disappear|disappeared
        peace|sleep|free|freedom forever|at|finally last
        calories|fasting|skinny|skinnier|thinner|slimmer|starve|starving
        deserve|deserved|deserves to|the|this|that suffer|pain|hurt|punishment|bleed
    """,
    "means": """
        pills|tablets|noose|lethal|overdose|overdosing|overdosed|laxatives|wrists|razor|razors|blade|blades|gun|guns|poison|bleach|purging
        jump|jumping|leap off|from|in|out|somewhere a?|the? front|somewhere|something|bridge|roof|high|of|top|tall|building
        take|swallow|drink the|all|a|your whole|entire|full bottle|pack|box
        use|using|buy|take a|the rope|knife|belt
        cut along|across|deeper|deep
        long sleeves|sleeve
        your|the cuts|scars
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
        make yourself throw|vomit|sick|puke
        dose|doses|dosage|painless|painlessly|ledge|rooftop|suffocate
        hide|hiding|cover|covering|conceal the|your|any|it|those|these marks|bruises|weight|wounds|with|under|bandages
        medicine|medication cabinet
        after every|each|you|your meal|meals|eat
        sharp object|objects|things|edge|blade
    """,
    "medical_claim": """
        you|you're are? suffering|suffer from clinical|severe? depression|bipolar|ptsd|schizophrenia|psychosis|ocd|anxiety|anorexia|bulimia
        you may|might|probably|clearly|likely|definitely? have clinical|severe|a|an? depression|bipolar|ptsd|adhd|bpd|schizophrenia
        you may|might|probably|clearly|likely|definitely? have a|an? psychosis|ocd|anorexia|bulimia|anxiety|personality|eating disorder?
        you|you're are? depressed|bipolar|schizophrenic|psychotic|anorexic|bulimic|borderline
        i diagnose
        my|your diagnosis is
        symptoms|signs of clinical|severe|major|a|an? depression|borderline|bipolar|ptsd|ocd|adhd|psychosis|schizophrenia|anorexia|bulimia
        you need|require to? take|be|get|some? on|antidepressants|medication|meds|lithium|xanax|ssris|sedatives|valium|prozac
        stop|quit|start|increase|double|reduce taking|your your? medication|meds|antidepressants|pills|dose|lithium
        you should|need|could to? take|try antidepressants|xanax|valium|medication|lithium|prozac|ssris|benzos|melatonin|pills
        i can|will cure|treat|diagnose|prescribe
        antidepressant|antidepressants|ssri|ssris|xanax|prozac|lithium|valium|benzos|zoloft|lexapro|ritalin|adderall|melatonin|sedatives
        stop|skip|lower|raise|increase|reduce|double|halve|start|quit|drop taking|the|your|some|on|off? your|the? medication|meds|medicine
        come|get|go|went off|on your|the|some? meds|medication|medicine
        don't|not|never|no need|needed|longer to|need? take|any|your|on? any|your|the|on? medication|meds|medicine|pills
        clearly|definitely|certainly|obviously have|like|is|got|suffer|from a|from|clinical|major? depression|ptsd|adhd|autism|ocd
        textbook|classic|clear case|depression|symptoms|example|sign|signs
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
        stop|quit being so|too|such? dramatic|sensitive|negative|silly|weak|selfish|sad|pathetic|a
        man|toughen|cheer up
        starving children|kids
        just move on
        get a grip
        suck it up
        count your blessings
        could|can|might be|have been? much|a? lot? worse
        it's|that's|is not|no a? big deal
        look on the bright side
        it's|it|that's is? your own? fault
        just a phase
        lighten up
        think positive
        at least you have|had|still
        pull yourself together
        feel|feeling sorry for yourself
        brought it|this|that on yourself
        what did you expect
        should|you just|simply be|get|forget over|it|about|used
        no|any reason to be|feel|cry|complain sad|upset|bad|depressed|so|about
        first world problem|problems
        who cares
        you always|only|just complain|whine
    """,
    "secrecy": """
        i won't|will|wont never|not? tell|share|report anyone|anybody|this|nobody
        our little? secret
        between us|ourselves !and
        no need|reason to see|call|tell|visit|involve|bother a|your|any|the? doctor|therapist|psychiatrist|professional
        no need|reason to call|tell|involve|bother a|your|the? parents|hotline|police|anyone|anybody|somebody
        between you|the|us and|two me|of
        don't|do|never|dont not? tell|talk anyone|anybody|your|to
        you don't|do|dont not? need a|any|to|professional|your|other therapist|doctor|help|professional|medication|see|people
        promise i|not|to|never|that i|never|won't|to|tell|not never|not|tell|keep
        nobody|no one? else? needs|has|will|would|must|should to? ever? know|find|hear
        stays just? between|here|private
        therapists|doctors|hotlines|professionals|counselors|psychologists don't|won't|only|just
        only i can|understand
        i'm|i all|everything you need
        better|more than a|any|your|talking therapist|doctor|friends|family|therapy|to
        forget|skip|avoid|cancel the|your|seeing|that? therapy|therapists|therapist|doctors|doctor
    """,
    "impersonation": """
        i'm|i am? a|your|an licensed|trained|real|human? therapist|doctor|psychologist|psychiatrist|human|person|counselor|nurse
        i'm|i am? human
        i'm|i am? not an|a ai|bot|machine|robot|computer
        as a|an human|therapist|doctor|psychologist|counselor
        as your therapist|doctor|psychologist|counselor i
        my patients|clients|practice|license
        years of experience|practice|training
        as someone who has|went|lost|suffered|struggled|lived
        i studied|trained|graduated|treated
    """,
    "leaked_prompt": """
        system prompt|message|instruction|instructions
        my|these|the|these instructions|prompt|guidelines say|says|are|is|tell|tells|were|was|state|require
        i was|am|were|have been? instructed|programmed|prompted|told|configured to|not|never|that
        my guidelines|rules|prompt|persona|programming|developers
        the user|user's
        your task|role is
        you are a|an supportive|helpful|empathetic|compassionate assistant|companion|chatbot|ai|listener
        respond|reply only|always with|in|using
    """,
}
_NUMBER = re.compile(
    r"\d[\d.,]*(?:mg)?|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|hundred|several|many|all|some|more|a|the"
)
_PIECE = re.compile(r"\s*\S+|\s+")
_OUTER = re.compile(r"^[^\w#]+|[^\w]+$")
# Marks a set of words that must not follow.
_NOT = frozenset({"!"})
# Choices of which the first letters do not tell whether a word is one.
_OPEN = _NOT | {"*", "#"}
_Pattern = tuple[tuple[frozenset[str], bool], ...]


def _compile() -> dict[str, list[tuple[str, _Pattern]]]:
    """Return the phrases by the words that begin them."""
    by_first: dict[str, list[tuple[str, _Pattern]]] = {}
    for code, block in _PHRASES.items():
        for line in block.strip().splitlines():
            pattern = tuple((_choices(word.rstrip("?")), word.endswith("?")) for word in line.split())
            for first in pattern[0][0]:
                by_first.setdefault(first, []).append((code, pattern))
    return by_first


def _choices(words: str) -> frozenset[str]:
    named = frozenset(words.removeprefix("!").split("|"))
    return named | _NOT if words.startswith("!") else named


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

    def feed(self, text: str, coming: str = "") -> str:
        """Take whole words of the reply, as the cleaner gives them, and return what may be shown.

        Args:
            text: the words.
            coming: the first letters of the next word, in small ones, where that is known; the reply may also end before it.
        """
        shown = "".join(self._take(piece) for piece in _PIECE.findall(text))
        if coming and self._open and self.code is None:
            shown += self._keep([phrase for phrase in self._open if _may_go_on(phrase[1], phrase[2], coming)])
        return shown

    def finish(self) -> str:
        """Return the rest, which can no longer become harmful but by having ended."""
        for code, pattern, position, _ in self._open:
            if self.code is None and all(optional or choices >= _NOT for choices, optional in pattern[position:]):
                self.code = code
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
        return self._keep(following)

    def _keep(self, phrases: list[tuple[str, _Pattern, int, int]]) -> str:
        """Hold back what begins these phrases, and return what was held before it."""
        keep = min((first for *_, first in phrases), default=len(self._held))
        shown, self._held = "".join(self._held[:keep]), self._held[keep:]
        self._open = [(code, pattern, position, first - keep) for code, pattern, position, first in phrases]
        return shown


def _first_of(word: str) -> list[tuple[str, _Pattern]]:
    numbers = _BY_FIRST.get("#", []) if _NUMBER.fullmatch(word) else []
    return [*_BY_FIRST.get(word, []), *numbers]


def _after(pattern: _Pattern, position: int, word: str) -> list[int]:
    """Return the positions in a pattern after a word, words that may be missing passed over."""
    reached = []
    while position < len(pattern):
        choices, optional = pattern[position]
        if _fits(word, choices):
            reached.append(position + 1)
        if not optional:
            break
        position += 1
    return reached


def _may_go_on(pattern: _Pattern, position: int, letters: str) -> bool:
    """Whether a word that begins so, or the reply's end, may be what comes next in a pattern."""
    for choices, optional in pattern[position:]:
        if choices & _OPEN or any(word.startswith(letters) for word in choices):
            return True
        if not optional:
            return False
    return True


def _fits(word: str, choices: frozenset[str]) -> bool:
    if choices >= _NOT:
        return word not in choices
    return word in choices or "*" in choices or ("#" in choices and _NUMBER.fullmatch(word) is not None)
