"""Tokens: random secrets of which the database has a hash only."""

from __future__ import annotations

import hashlib
import secrets

_BYTES = 32  # random ones; ASVS 5.0, 7.2.3 asks for 16 at least
_MAX_LENGTH = 100  # characters of a token; ours have 43


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(_BYTES)


def may_be_token(text: str) -> bool:
    """Return whether a text is short enough to be worth a hash."""
    return 0 < len(text) <= _MAX_LENGTH


def token_hash(token: str) -> str:
    """Return what the database has of a token."""
    # the token is random, so a fast hash is enough
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
