"""Makes a text plain before the rules read it: spelling tricks count as what they stand for. Pure."""

from __future__ import annotations

import re
import unicodedata

# Cyrillic and Greek letters that look like Latin ones; only in words that have Latin letters, too.
_LOOK_ALIKES = str.maketrans("авеікмнорстухѕјԁԛԝαεικνορτυχ", "abeikmhopctyxsjdqwaeikvoptux")
_LEET = str.maketrans("013457@$!|*", "oieastasiii")
# Marks on Latin, Greek and Cyrillic letters, and what is invisible (the category Cf of Unicode 14).
_REMOVED = re.compile(
    "[\u0300-\u036f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
_LATIN = re.compile("[a-z]")
_NOT_LATIN = re.compile("[\u0370-\u052f]")
_LEETED = re.compile(r"[a-z][013457@$!|*]+[a-z]")
_WORD = re.compile(r"\S+")
_REPEATED = re.compile(r"(\w)\1{2,}")
# Four letters or more, one blank, dot or dash between each two: a spelled-out word. Two blanks end it.
_SPACED = re.compile(r"(?<!\w)(?:[a-z][ .\-_]){3,}[a-z](?!\w)")
_APOSTROPHES = re.compile("['\u2018\u2019`\u00b4]")

_TYPOS = {
    **dict.fromkeys(("wnat", "wamt", "watn", "wan"), "want"),
    **dict.fromkeys(("myslef", "mysefl", "mself", "meself", "miself"), "myself"),
    **dict.fromkeys(("kil", "kll", "kyll"), "kill"),
    **dict.fromkeys(("lyfe", "lif", "lfe"), "life"),
    **dict.fromkeys(("dye", "dei"), "die"),
    **dict.fromkeys(("sucide", "suicde", "suiside", "sucidie", "suicid", "sewerslide", "sewercide", "sui"), "suicide"),
    **dict.fromkeys(("sucidal", "suicdal", "suisidal"), "suicidal"),
    **dict.fromkeys(("wanna", "wana"), "want to"),
    **dict.fromkeys(("gonna", "gunna", "finna"), "going to"),
    **dict.fromkeys(("unaliving", "unalived"), "unalive"),
    **{"abt": "about", "thinkin": "thinking", "u": "you", "2": "to", "tn": "tonight", "tmr": "tomorrow", "kms": "kill myself"},
    **{"kys": "kill yourself", "cuz": "because", "iam": "i am", "iwant": "i want", "id": "i would"},
}
_TYPO = re.compile(rf"\b(?:{'|'.join(sorted(_TYPOS, key=len, reverse=True))})\b")
_PAIRS = ((re.compile(r"\bself[ -]?harm"), "selfharm"), (re.compile(r"\bmy self\b"), "myself"), (re.compile(r"\bsui cid"), "suicid"))


# "don t", "i m": what is left of an apostrophe that something else has eaten.
_TORN = re.compile(
    r"\b(don|can|won|didn|doesn|isn|wouldn|couldn|shouldn|haven|hasn|wasn|weren|aren) (t)\b"
    r"|\b(i|you|we|they|it|that|there|what|who|he|she) (m|s|re|ve|ll|d)\b"
)
# They change nothing but the weight of what they stand in.
_FILLERS = re.compile(
    r"\b(?:fuck(?:ing|in)?|freak(?:ing|in)|just|really|literally|honestly|seriously|actually|truly|so bad(?:ly)?|kinda|(?:sort|kind) of) "
)


def normalize(text: str) -> str:
    """Return a text in small Latin letters, without marks, invisible and look-alike characters, l33t, repeated letters, fillers.

    Apostrophes go ("dont"), other punctuation stays, for it ends a clause. Devanagari keeps its marks.
    """
    if text.isascii():
        text = _APOSTROPHES.sub("", text.casefold())
    else:
        text = unicodedata.normalize("NFKD", text).casefold()
        text = _REMOVED.sub("", text)
        text = unicodedata.normalize("NFC", _APOSTROPHES.sub("", text))
    if _NOT_LATIN.search(text) or _LEETED.search(text):
        text = _WORD.sub(lambda word: _plain_word(word[0]), text)
    text = _SPACED.sub(lambda spelled: re.sub(r"[ .\-_]", "", spelled[0]), text)
    text = _REPEATED.sub(r"\1", text)
    text = _TYPO.sub(lambda word: _TYPOS[word[0]], text)
    text = _TORN.sub(lambda torn: "".join(filter(None, torn.groups())), text)
    for pattern, plain in _PAIRS:
        text = pattern.sub(plain, text)
    return _FILLERS.sub("", re.sub(r"[ \t]+", " ", text))


def _plain_word(word: str) -> str:
    if _NOT_LATIN.search(word) and _LATIN.search(word):
        word = word.translate(_LOOK_ALIKES)
    if _LEETED.search(word):
        end = len(word.rstrip("!.,?"))
        word = word[:end].translate(_LEET) + word[end:]
    return word
