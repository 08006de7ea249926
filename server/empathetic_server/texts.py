"""The one place where text from outside is cleaned. Pure; knows no model and no HTTP."""

from __future__ import annotations

import re
from typing import Any

# Control characters except tab and newline; lone surrogates, which no encoder takes; U+FFFE, U+FFFF, which are no characters.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n?|[\u0085\u2028\u2029]")


def clean(text: str) -> str:
    """Return the text as it is stored, classified and shown: plain line feeds, no control characters, no outer blanks."""
    return readable(text).strip()


def readable(text: str) -> str:
    """Return a piece of text with plain line feeds and without control characters and lone surrogates; outer blanks stay."""
    return _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))


def clean_json(value: Any) -> Any:
    """Return a decoded JSON value with every string in it cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_json(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean_json(item) for key, item in value.items()}
    return value
