"""A cookie by which a browser is known that has signed in to an account before.

Failed tries lock an account for a while, and so could be used to lock its owner out. A browser
that its owner signed in with has tries of its own, which strangers cannot use up (OWASP, "Slow
down online guessing attacks with device cookies"). The cookie is no credential: whoever has it
still needs the password. It is good for one password: somebody may have gathered many of them
while he knew the one before, or owned an account of that name.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence

from itsdangerous import BadSignature, Signer

from app.web.session_cookie import SessionCookie, make_signer, values_of

_PATH = "/login"  # only pages below it get to see the cookie
_LIFETIME = 365 * 86_400  # seconds
_LONGEST_VALUE = 128  # one of ours has 66 characters
_MOST_CANDIDATES = 4


class DeviceCookie:
    """Reads and writes the cookie."""

    def __init__(self, cookie: SessionCookie, name: str, keys: Sequence[str]) -> None:
        """`keys` sign as they do for the session cookie, whose `name` this one's is made of."""
        self._cookie = cookie
        self._name = name + "-device"
        self._keys = list(keys)

    def name(self, *, secure: bool) -> str:
        """Return the cookie's name; `__Secure-` keeps plain http from setting it (RFC 6265bis)."""
        flags = self._cookie.attributes(secure=secure)
        return ("__Secure-" if "Secure" in flags else "") + self._name

    def shown(self, headers: Sequence[str], *, secure: bool) -> bool:
        """Whether these Cookie headers hold such a cookie, of whatever account, true or forged."""
        return next(values_of(self.name(secure=secure), headers), None) is not None

    def recognise(self, headers: Sequence[str], account: str, stamp: str, *, secure: bool) -> str:
        """Return which device of this account sent these Cookie headers; "" for a stranger's.

        `account` is what all spellings of a name share, `stamp` the hash of its password.
        """
        values = values_of(self.name(secure=secure), headers)
        for value in itertools.islice(values, _MOST_CANDIDATES):
            if account and stamp and len(value) <= _LONGEST_VALUE and value.isascii():
                try:
                    return self._signer(account, stamp).unsign(value).decode()
                except BadSignature:
                    continue
        return ""

    def issue(self, account: str, stamp: str, *, secure: bool) -> str:
        """Return the Set-Cookie value for a browser that has just signed in to this account."""
        value = self._signer(account, stamp).sign(secrets.token_urlsafe(16)).decode()
        flags = self._cookie.attributes(secure=secure, path=_PATH)
        return "; ".join([f"{self.name(secure=secure)}={value}", f"Max-Age={_LIFETIME}", *flags])

    def _signer(self, account: str, stamp: str) -> Signer:
        # both are in the key and not in the cookie, which thereby names nobody
        return make_signer(self._keys, f"latchkey.device {stamp} {account}")
