"""Random ids of connections and clients."""

from __future__ import annotations

import base64
import secrets

_BYTES = 15  # of one id: 120 random bits
_CHARACTERS = 20  # of one id: _BYTES in base64
_IDS_AT_ONCE = 100


class Ids:
    """Makes ids of 120 random bits."""

    def __init__(self) -> None:
        self._ready: list[str] = []  # not given out yet

    def new(self) -> str:
        """Return an id of 20 characters, each a letter, a digit, `-` or `_`."""
        if not self._ready:  # asking the system for many at once takes as long as for one
            random = secrets.token_bytes(_BYTES * _IDS_AT_ONCE)
            text = base64.urlsafe_b64encode(random).decode()
            self._ready = [text[at : at + _CHARACTERS] for at in range(0, len(text), _CHARACTERS)]
        return self._ready.pop()
