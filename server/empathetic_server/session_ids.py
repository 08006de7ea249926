"""Session ids: bearer secrets that also say where the session is kept and whose it is. Pure.

`[tmp_]RANDOM[~TAG]`: 144 random bits; the tag binds the session to the owner of the key that began it. It need not be secret: with another
tag the id is another one, which no store has.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_TEMPORARY = "tmp_"
_TAG_CHARS = 16


def new_session_id(*, temporary: bool, owner: str | None) -> str:
    """Return the id of a new session."""
    secret = (_TEMPORARY if temporary else "") + secrets.token_urlsafe(18)
    return secret if owner is None else f"{secret}~{_tag(secret, owner)}"


def is_temporary(session_id: str) -> bool:
    """Tell whether a session lives in memory alone."""
    return session_id.startswith(_TEMPORARY)


def belongs_to(session_id: str, owner: str | None) -> bool:
    """Tell whether an owner may use a session; one that was begun without a key is everybody's who knows its id."""
    secret, has_tag, tag = session_id.partition("~")
    return not has_tag or (owner is not None and hmac.compare_digest(tag.encode("utf-8", "surrogatepass"), _tag(secret, owner).encode()))


def _tag(secret: str, owner: str) -> str:
    return hashlib.sha256(f"{owner}\0{secret}".encode("utf-8", "surrogatepass")).hexdigest()[:_TAG_CHARS]
