"""Understands what a person wants to be called, and what is not a name. Pure; knows no conversation.

Three ways, from sure to unsure:
    "my name is …", "call me …"      any word that can be a name, at any time
    "I'm …", "it's …", "… here"      at any time with a capital, in lower case only while the question is open;
                                     never an ordinary word, so "I'm sad" and "I'm Fine" are feelings
    a bare name                      only while the question is open
"""

from __future__ import annotations

import re
from enum import Enum

from .emotions import VALENCE
from .errors import InvalidRequest

MAX_CHARS = 40
# Nobody introduces themselves further down; it also bounds the work on a long text.
_READ_CHARS = 200


class Refused(Enum):
    """The person does not want to give a name."""

    REFUSED = "refused"


_LETTER = r"[^\W\d_]"
_PART = rf"{_LETTER}(?:{_LETTER}|['’.\-](?={_LETTER}))*"  # noqa: RUF001  # people type this apostrophe
_NAME = re.compile(rf"{_PART}\.?(?: {_PART}\.?)*")

_GREETING = r"(?:(?:hi|hey|hello|hiya|heya|yo|good (?:morning|evening|afternoon|day))(?: there| mira)?[\s,.!]*)?"
_STRONG = re.compile(
    rf"\b(?:my name(?:'s| is)|(?:you can |please |just )?call me|(?:people|friends|everyone) calls? me|i go by)\s+({_PART}(?: {_PART})?)",
    re.IGNORECASE,
)
_WEAK = re.compile(
    rf"(?:^|[.!?,\n]\s*){_GREETING}(?:i'?m|i am|it'?s|this is)\s+({_PART})(?: ({_PART}))?(?=\s*(?:$|[.,!?\n;]| and | but | here))",
    re.IGNORECASE,
)
_HERE = re.compile(rf"^{_GREETING}({_PART}) here\b", re.IGNORECASE)
_BARE = re.compile(rf"^{_GREETING}({_PART}(?: {_PART})?)[\s.!]*$", re.IGNORECASE)
_NOT_SAYING = re.compile(
    r"^\W*(?:no(?:pe|t telling|t saying)?|nah|skip|pass|no (?:thanks?|thank you|name)(?: please)?|none|anonymous|"
    r"(?:i(?:'d| would) )?rather not(?: say| tell)?|i(?:'d| would) prefer not to(?: say| tell)?|"
    r"(?:i )?(?:don't|do not) want to (?:say|tell)(?: you)?|"
    r"(?:it )?doesn't matter|(?:that's |it's )?private|why(?: do you (?:need|want)(?: to know)?(?: that| my name| it)?)?|"
    r"(?:that's )?none of your business)\W*$",
    re.IGNORECASE,
)

# Words that follow "I'm" or stand alone, and are no names. The emotion labels and the endings below catch many more.
_ORDINARY = frozenset(
    """
    a about afraid again alive all alone already also always american an and angry anonymous another anxious anybody anyone anything as
    asexual asian ashamed asleep at australian autistic awake aware away awesome awful back bad because better between bi big bipolar
    black blind blue bored both brazilian british broke broken busy but by bye calm canadian catholic chinese christian clean clear
    clever close cold complicated confident cool crazy crying curious dead deaf deep depressed desperate different dizzy doing done down
    drunk dumb dutch dying eight eighteen eighty eleven empty english enough even everybody everyone everything excited exhausted fat
    female fifteen fifty fine first five for forty four fourteen free french friendly from frustrated full funny gay german girl glad
    going gone good got grand great greek grown guilty guy happy hard healthy heavy hello help here hers hey hi high him his home honest
    hopeless hot how human hungry hurt i ill important in inside insane interested irish it italian japanese jealous jewish just keen
    kind korean last late later latino lazy left lesbian less like literally lonely long lost low lucky mad male man many married maybe
    me mean mentally mexican middle mine miserable mixed mom monday more most muslim my nearly nervous new next nice nine nineteen no
    nobody none nonbinary nope normal not nothing now numb of off often ok okay old on one only open or other our out over overwhelmed
    panic pathetic poor pregnant pretty proud queer quiet quite ready really relaxed rich right running sad safe same scared second
    serious seven seventeen seventy shocked short shy sick silent silly simply single six sixteen sixty skip sleepy slow small so sober
    some somebody someone something sorry spanish speechless stop straight stressed strong stuck stupid super sure surrounded swedish
    tall ten terrible terrified thank thanks that the them then there thin thirsty thirteen thirty this three through tired to today
    together tomorrow tonight too torn totally tough trans trapped true twelve twenty twice two ugly uncertain under unsure up upset
    useless utterly very vulnerable wait weak weird well what when where white who whole why wide with woman wondering worried worse
    worthless wow wrong yeah yes yep young your yours zero student teacher nurse doctor mother father parent dad divorced widowed
    unemployed homeless suicidal meh whatever idk lol test testing mira you me us myself
    """.split()  # noqa: SIM905  # as a list it would be five times as long
) | frozenset(VALENCE)
_ORDINARY_ENDINGS = (
    *("ing", "ed", "ful", "less", "ous", "ive", "able", "ible", "ically", "ally", "edly", "tion", "sion", "ment", "ness", "est", "ish"),
    *("ese", "sexual", "ient", "ated", "zed"),
)
_CONTRACTION = re.compile(r"'(?:m|s|re|ve|ll|d|t)$")
# Real names with such endings: too many would be lost.
_NAMES_WITH_ENDINGS = frozenset(
    {"alfred", "ahmed", "mohamed", "mohammed", "hamed", "saied", "fred", "jared", "clive", "olive", "ernest", "reed"}
)
# Words that are names as often as feelings: only "my name is …" makes them one.
_AFTER_STRONG = frozenset(
    {"joy", "grace", "hope", "faith", "angel", "will", "grant", "pearl", "rose", "may", "love", "caring", "desire", "amber"}
)


def find_name(text: str, *, asked: bool) -> str | Refused | None:
    """Return the name that a message gives, `Refused.REFUSED` when it refuses to, or None.

    Args:
        text: the message.
        asked: whether the question for the name is open.
    """
    text = text.strip()[:_READ_CHARS].replace("\u2019", "'")
    if found := _STRONG.search(text):
        name = _keep(found[1], after_strong=True)
        if name and not _is_negated(text, found.start()):
            return name
    for pattern in (_WEAK, _HERE):
        for found in pattern.finditer(text):
            first, second = found[1], found[2] if pattern is _WEAK else None
            if not (asked or first[0].isupper()):
                continue
            together = f"{first} {second}" if second and second[0].isupper() and first[0].isupper() else first
            if second and together == first and second.lower() != "here":
                continue  # "I'm Ana" ends there; "I'm so tired" does not
            if name := _keep(together):
                return name
    if not asked:
        return None
    if _NOT_SAYING.match(text):
        return Refused.REFUSED
    found = _BARE.match(text)
    return _keep(found[1]) if found else None


def validate_name(text: str) -> str:
    """Return what a person wants to be called, if it can be one: letters of any script, spaces, hyphens, apostrophes, periods.

    It stands quoted in the system prompt: nothing that could end the quotation, or forge a line, passes.

    Raises:
        InvalidRequest: it cannot.
    """
    name = " ".join(text.split())
    if not 1 <= len(name) <= MAX_CHARS or not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"user_name: must be 1 to {MAX_CHARS} letters, with single spaces, hyphens, apostrophes or periods between them"
        )
    return name


def _keep(found: str, *, after_strong: bool = False) -> str | None:
    """Return a name as it is written, lower case made capital, or None when a word of it is no name."""
    words = found.split()
    if after_strong:  # "my name is Ana and …": what follows the first word must look like a name by itself
        words = words[:1] + [word for word in words[1:] if word[0].isupper() and not _is_ordinary(word)]
    if any(_is_ordinary(word) and not (after_strong and word.lower() in _AFTER_STRONG) for word in words):
        return None
    name = " ".join(word if any(letter.isupper() for letter in word) else _capital(word) for word in words)
    return name if len(name) <= MAX_CHARS and _NAME.fullmatch(name) else None


def _is_ordinary(word: str) -> bool:
    plain = word.lower().strip(".")
    if plain in _ORDINARY or plain in _AFTER_STRONG or _CONTRACTION.search(plain):
        return True
    return len(plain) > 3 and plain.endswith(_ORDINARY_ENDINGS) and plain not in _NAMES_WITH_ENDINGS


def _capital(word: str) -> str:
    return "-".join(part[:1].upper() + part[1:] for part in word.split("-"))


def _is_negated(text: str, start: int) -> bool:
    return bool(re.search(r"\b(?:not|don't|never|do not)\s+$", text[:start], re.IGNORECASE))
