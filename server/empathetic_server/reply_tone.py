"""Tells whether the feeling of a reply fits the message's: a cheerful reply to a sad message is the worst that this product can say.

    message ─► mood                    painful, happy or open
    reply, its emotions ─► jars?       cheerful (where the mood is not a happy one), condoling (where it is), or neither

Words decide first, because they are sure: "congratulations" is cheerful whatever a classifier finds. The classifier's labels add what the
lists do not know. It finds no feeling in much that is sad ("My sister moved out", "He lied to me for months"), so cheer needs a message
that is happy, not one that is not sad: a reply that is too sober does no harm. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from .emotions import EmotionReading
from .trajectory import PLEASANT

Mood = Literal["painful", "happy", "open"]
Jar = Literal["cheerful", "condoling"]

# What has happened to somebody weighs more than how they put it; "I loved him, he died" reads as love.
_HURT = re.compile(
    r"\b(?:died|dies|dying|dead|death|passed (?:away|on)|funeral|killed|suicide|cancer|tumou?r|terminal|hospice|miscarriage|stillborn"
    r"|(?:broke|break|breaking|broken) up|breakup|dumped (?:me|him|her|us)|left (?:me|us)|cheat(?:ed|ing) on|divorc\w+|laid off|got fired"
    r"|fired me|let me go|lost (?:my|our|his|her|their)|abus(?:ed|ive)|rap(?:ed|ist)|assaulted|attacked|bullied|evicted|homeless|bankrupt"
    r"|car accident|crashed|heart attack|in (?:the )?hospital|(?:put|putting) (?:him|her|it|them) (?:down|to sleep))\b"
)
# Nor does it find joy in all good news.
_GOOD_NEWS = re.compile(
    r"\b(?:i|we)(?:'ve| have)? (?:just |finally |actually )*(?:passed|won|graduated"
    r"|got (?:(?:the|a|my) (?:new )?(?:job|promotion|raise|scholarship|prize)|promoted|accepted|engaged|hired|into))\b"
)
_SPOILED = re.compile(r"\b(?:not|never|nobody|no one|but|failed|without)\b|n't\b")
_OVERCOME = re.compile(r"\bcancer[- ]free\b|\bremission\b|\bbenign\b|\ball clear\b|\brecovered\b|\bsurvived\b|\bbeat (?:the |my )?cancer\b")

_VERY = r"(?:(?:so|really|very|just|pretty|truly|quite|absolutely|such|always|super|all|also|actually|too|even) )*"
_IS = r"(?:'s| is| was| sounds| looks| feels| seems| must be| must have been| must feel| must have felt| has to be)"
_GOOD = (
    r"(?:great|good|awesome|amazing|wonderful|fantastic|cool|sweet|nice|cute|adorable|lovely|fun|funny|exciting|neat|hilarious|brilliant"
    r"|excellent|perfect|incredible|beautiful|impressive|delightful|terrific|fabulous|super|splendid|lucky|the best|interesting to hear)"
)
_BAD_WORDS = (
    r"awful|terrible|horrible|sad|rough|tough|hard|unfortunate|too bad|a shame|a pity|a bummer|heartbreaking|bad|painful|depressing|scary"
    r"|frustrating|disappointing|upsetting|devastating|unfair|tragic|stressful|difficult"
)
_BAD = f"(?:{_BAD_WORDS})"
# What is good about it may be what the person does: "that's a good question", "it's good that you noticed".
_FOR_THEM = (
    r"(?! (?:idea|question|way|step|point|start|beginning|plan|attitude|instinct|sign|enough|reason|thing (?:that )?(?:you|to)"
    r"|that you(?:'re| are|'ve| have)? (?:care|notice|know|can|could|have|reach|talk|ask|try|want|told|tell|said|see|took|take|went|go|did)"
    r"|(?:of you )?to (?:talk|tell|say|cry|ask|let|take|want|feel|rest)))"
)
_CHEER = re.compile(
    "|".join(
        (
            rf"\b(?:that|this|it|which|she|he|they|you){_IS} {_VERY}(?:like )?(?:an? )?{_VERY}{_GOOD}\b{_FOR_THEM}",
            rf"\b(?:you|they)(?:'re| are) {_VERY}(?:lucky|blessed|awesome|amazing|so sweet|hilarious|funny)\b",
            rf"\bhow {_VERY}{_GOOD}\b(?! (?:is|are|was|were|do|does|did|of a))",
            rf"\bwhat an? {_VERY}(?:{_GOOD}|blessing|treat|relief)\b{_FOR_THEM}",
            rf"(?:^|[.!?,…] ?)(?:(?:oh|wow|aww*|well|yeah|yes|ah|haha),? )*{_VERY}{_GOOD}(?: (?:news|stuff|one))?\s*(?:[.!,…]|$)",
            r"\bcongrat\w*|\bhoo?ray\b|\bhurray\b|\bya+y+\b|\bwoo+[ -]?hoo+\b|\bwoot\b|\bkudos\b|\bbravo\b|\bcheers\b",
            r"\bawesome\b|\bhilarious\b|\badorable\b|\bso (?:cute|sweet|cool|fun|funny|exciting|lucky)\b",
            r"\bblessing\b|\byum(?:my)?\b|\bdelicious\b|\bromantic\b",
            r"\bshould be (?:so |very |really )*(?:proud|happy)\b|\b(?:is|are|be) fun\b",
            r"\ba?(?:ha){2,}h?\b|\bhe(?:he)+\b|\blol+\b|\blmf?ao\b|\brofl\b|(?<!\w)[:;]-?[)dp](?!\w)|\bxd\b|[😂🤣😄😁😆😃😀😊🥳🎉🎊😍🤩😎]",
            rf"\b(?:good|great|happy|glad|thrilled|excited) for (?:you|him|her|them)\b|\bwell done\b|\bway to go\b|\b{_GOOD} job\b",
            r"\b(?:good|great|wonderful|awesome|nice|lovely) to hear\b|\b(?:can't|cannot) wait\b",
            r"\bcelebrat\w+|\bhappy (?:birthday|anniversary)\b",
            rf"\bi(?:'m| am| would be|'d be) {_VERY}(?:excited|thrilled|ecstatic|jealous|stoked|overjoyed)\b",
            rf"\b(?:must|bet (?:you|he|she|they)|you (?:sound|seem))(?: (?:be|feel|felt|have been|have felt|were|was|are|is|'re))* {_VERY}"
            r"(?:happy|excited|proud|thrilled|ecstatic|overjoyed|delighted|glad|pumped|stoked|fun|nice)\b",
            r"\b(?:a lot of|lots of|so much|such|have|had|having|sounds like|sounds) fun\b|\bhave a blast\b",
            r"\benjoy (?:it|yourself|your|the|every)\b",
            rf"\ba {_VERY}(?:great|good|nice|fun|wonderful|lovely|amazing|fantastic) (?:time|trip|day|one|vacation|feeling|surprise)\b",
            r"\bi (?:\w+ )?love (?:that|this|it|those|these|when|your|\w+ing)\b|\bmade (?:your|my) day\b",
        )
    )
)
# Joy that may be about the person's trust, or turned by sympathy in the same reply.
_GLAD = re.compile(
    rf"\bi(?:'m| am| was) {_VERY}(?:glad|happy|pleased|proud|delighted|relieved)\b|\b(?:glad|happy|nice|pleased) to (?:hear|know|see)\b"
    r"|(?:^|[.!?] )(?:so |really )?(?:glad|happy) "
)
_GLAD_OF_TRUST = re.compile(
    r"\b(?:glad|happy|pleased|proud|relieved) (?:of you )?(?:that |for |to )*(?:you(?:'re|'ve)? )?(?:are |have |could |can |feel |felt )*"
    r"(?:told|tell|telling|shared?|sharing|reached|came|come|said|say|saying|wrote|trust\w*|ask\w*|opened|open|here|still|safe|okay|ok|alive"
    r"|talk\w*|try\w*|listen|help|chat|keep|be|able to|someone|somebody|people)\b"
)
_SYMPATHY = re.compile(
    rf"\bsorry\b|\b(?:{_BAD_WORDS}|lonely|frightening|heavy|exhausting|overwhelming|annoying|embarrassing|nerve-?wracking|hurts?|hurting"
    r"|worr(?:y|ies|ied|ying)|devastated|heartbroken|angry|upset|mad|furious)\b"
    r"|\bcondolences\b|\bsucks\b|\boh no\b|\bmiss (?:him|her|them|it)\b"
    r"|\b(?:not|isn't) (?:okay|ok|right|fair)\b|\bi (?:can|can't) (?:even )?imagine\b"
    r"|\bi can see why\b|\bno wonder\b|\bhoping? (?:it|things|you)\b"
)
_CONDOLENCE = re.compile(
    "|".join(
        (
            r"\bsorry (?:to hear|for your loss|for you|about|that (?:you|this|it)|you)\b",
            r"\bi(?:'m| am) (?:so |really |very |truly )*sorry\b(?! (?:i|if|for ask))",
            rf"\b(?:that|this|it){_IS} {_VERY}(?:like )?(?:an? )?{_VERY}{_BAD}\b(?! work)",
            rf"\bhow {_VERY}{_BAD}\b(?! (?:is|are|was|were|do|does|did))",
            r"\bwhat a (?:shame|pity|bummer)\b|\btoo bad\b|\bsucks\b|\bcondolences\b",
            r"\bfor your loss\b|\bone day at a time\b|\bi know it hurts\b|(?:^|[.!?] )(?:oh|aw+),? no\b|\bhang in there\b|\bstay strong\b",
            r"\bpoor (?:you|thing)\b|\bfeel better\b|\bchin up\b",
            r"\b(?:get|gets|got|be) (?:any )?better\b",
            r"\b(?:it|things|this|everything)(?:'ll| will) (?:be (?:ok|okay|alright)|get better|pass)\b",
            rf"\byou must (?:be|feel|have been) {_VERY}(?:sad|devastated|heartbroken|upset|scared|angry|disappointed|hurt|lonely)\b",
        )
    )
)
# Turns what follows in the same clause: "not that that's great", "I wish it was fun".
_TURNED = re.compile(r"(?:\bnot|n't|\bnever|\bhardly|\bif|\bwish)(?: \w+){0,2} ?$")
# Not admiration: much of what it finds is about the person's strength.
_JOYFUL_LABELS = frozenset({"joy", "amusement", "excitement", "love", "pride"})


def mood_of(message: str, emotion: Mapping[str, Any] | None) -> Mood:
    """Return how a message feels.

    Args:
        message: its text.
        emotion: an element of `data` in the wire contract; None where no classifier answered, and the words alone decide.
    """
    text = _plain(message)
    valence = 0.0 if emotion is None else emotion["valence"]
    if valence <= -PLEASANT or (_HURT.search(text) and not _OVERCOME.search(text)):
        return "painful"
    if emotion is not None and emotion["confident"] and valence >= PLEASANT:
        return "happy"
    return "happy" if _GOOD_NEWS.search(text) and not _SPOILED.search(text) else "open"


def jars(reply: str, reading: EmotionReading | None, mood: Mood) -> Jar | None:
    """Return how a reply's feeling is wrong for a mood, if it is.

    Args:
        reply: its text.
        reading: its emotions; None where no classifier answered, and the words alone decide.
        mood: of the message.
    """
    text = _plain(reply)
    if mood != "happy":
        return "cheerful" if _cheers(text) or _is_unturned_joy(text, reading) else None
    grieves = reading is not None and reading.confident and reading.valence <= -PLEASANT
    is_turned = _cheers(text) or _GLAD.search(text)
    return "condoling" if (grieves or _finds(_CONDOLENCE, text)) and not is_turned else None


def is_cheerful(reply: str) -> bool:
    """Whether a reply says that something is good."""
    text = _plain(reply)
    return _cheers(text) or _GLAD.search(text) is not None


def is_sympathetic(reply: str) -> bool:
    """Whether a reply says that something is hard."""
    return _SYMPATHY.search(_plain(reply)) is not None


def _is_unturned_joy(text: str, reading: EmotionReading | None) -> bool:
    is_joyful = reading is not None and reading.confident and any(emotion.label in _JOYFUL_LABELS for emotion in reading.emotions)
    return bool(is_joyful or _GLAD.search(text)) and not _SYMPATHY.search(text) and not _GLAD_OF_TRUST.search(text)


def _cheers(text: str) -> bool:
    return _finds(_CHEER, text)


def _finds(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a pattern occurs where nothing turns it."""
    return any(not _TURNED.search(text[: found.start()]) for found in pattern.finditer(text))


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("\u2019", "'").split())
