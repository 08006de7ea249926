"""Makes a text plain before the rules read it: spelling tricks count as what they stand for. Pure."""

from __future__ import annotations

import re
import unicodedata

# Cyrillic and Greek letters that look like Latin ones; only in words that have Latin letters, too.
_LOOK_ALIKES = str.maketrans("авеікмнорстухѕјԁԛԝαεικνορτυχ", "abeikmhopctyxsjdqwaeikvoptux")
_LEET = str.maketrans("013457@$!|*", "oieastasiii")
_LATIN = re.compile("[a-z]")
_NOT_LATIN = re.compile("[\u0370-\u052f]")
_WORD = re.compile(r"[^\s]+")
_LEETED = re.compile(r"[a-z][013457@$!|*]+[a-z]")
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
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(character for character in text if not _is_removed(character))
    text = unicodedata.normalize("NFC", _APOSTROPHES.sub("", text))
    text = _WORD.sub(lambda word: _plain_word(word[0]), text)
    text = _SPACED.sub(lambda spelled: re.sub(r"[ .\-_]", "", spelled[0]), text)
    text = _REPEATED.sub(r"\1", text)
    text = re.sub(r"\w+", lambda word: _TYPOS.get(word[0], word[0]), text)
    text = _TORN.sub(lambda torn: "".join(filter(None, torn.groups())), text)
    for pattern, plain in _PAIRS:
        text = pattern.sub(plain, text)
    return _FILLERS.sub("", re.sub(r"[ \t]+", " ", text))


def _is_removed(character: str) -> bool:
    """Tell what is invisible, or a mark on a Latin, Greek or Cyrillic letter."""
    return unicodedata.category(character) == "Cf" or "\u0300" <= character <= "\u036f"


def _plain_word(word: str) -> str:
    if _NOT_LATIN.search(word) and _LATIN.search(word):
        word = word.translate(_LOOK_ALIKES)
    if _LEETED.search(word):
        end = len(word.rstrip("!.,?"))
        word = word[:end].translate(_LEET) + word[end:]
    return word
