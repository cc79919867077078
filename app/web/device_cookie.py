"""The device cookie: it marks a browser that has signed in to an account before.

Failed sign-ins lock an account for a while, so attackers could lock its owner out. A browser with
a device cookie has a count of its own, which attackers cannot use up (OWASP, "Slow down online
guessing attacks with device cookies"). The cookie is no credential: its user still needs the
password. A change of the password makes it invalid, because an attacker who knew the old password
may have collected such cookies.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence

from itsdangerous import BadSignature, Signer

from app.web.session_cookie import SessionCookie, make_signer, values_of

_PATH = "/login"  # below the base path; browsers send the cookie to this path only
_MAX_AGE = 365 * 86_400  # seconds
_MAX_LENGTH = 128  # characters of a value; a signed one has 66
_MAX_CANDIDATES = 4  # cookies of our name in one request that are verified


class DeviceCookie:
    """Reads and writes device cookies."""

    def __init__(self, cookie: SessionCookie, name: str, keys: Sequence[str]) -> None:
        """`name` and `keys` are those of the session cookie."""
        self._cookie = cookie
        self._name = name + "-device"
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[str]) -> None:
        """Sign and verify with these keys from now on."""
        self._keys = list(keys)

    def name(self, *, secure: bool) -> str:
        """Return the cookie's name."""
        return self._cookie.name_below(self._name, secure=secure)

    def shown(self, headers: Sequence[str], *, secure: bool) -> bool:
        """Whether these Cookie headers hold a device cookie of any account, valid or not."""
        return next(values_of(self.name(secure=secure), headers), None) is not None

    def recognise(
        self, headers: Sequence[str], account: str, password_hash: str, *, secure: bool
    ) -> str:
        """Return the id of the device of this account that sent these headers; "" if unknown.

        `account` is the key that all spellings of a name share.
        """
        values = values_of(self.name(secure=secure), headers)
        for value in itertools.islice(values, _MAX_CANDIDATES):
            if account and password_hash and len(value) <= _MAX_LENGTH and value.isascii():
                try:
                    return self._signer(account, password_hash).unsign(value).decode()
                except BadSignature:
                    continue
        return ""

    def issue(self, account: str, password_hash: str, *, secure: bool) -> str:
        """Return the Set-Cookie value for a browser that has just signed in to this account."""
        value = self._signer(account, password_hash).sign(secrets.token_urlsafe(16)).decode()
        flags = self._cookie.attributes(secure=secure, below=_PATH)
        return "; ".join([f"{self.name(secure=secure)}={value}", f"Max-Age={_MAX_AGE}", *flags])

    def _signer(self, account: str, password_hash: str) -> Signer:
        # account and hash are in the key, so that the cookie does not reveal the account
        return make_signer(self._keys, f"latchkey.device {password_hash} {account}")
