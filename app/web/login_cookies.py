"""The cookies of the second step of a sign-in; browsers send them to /login and below only."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Sequence

import msgspec
from itsdangerous import BadSignature

from app.accounts import Proof
from app.web.session_cookie import SessionCookie, make_signer, values_of

_PATH = "/login"  # below the base path
_GONE = ("Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT")
_PROVEN_TIME = 600  # seconds that a user has for the code
_TRUST_TIME = 30 * 86_400  # seconds
_MAX_LENGTH = 4000  # characters of a value
_MAX_CANDIDATES = 4  # cookies of one name in one request that are looked at


class Proven(msgspec.Struct, frozen=True):
    """An account whose password this browser has shown, and has to show a code."""

    account_id: str
    password: str  # a digest of the password's hash
    next: str  # where to go after the sign-in
    time: float  # seconds since 1970

    def fits(self, password_hash: str) -> bool:
        """Whether the account still has the password that was shown."""
        return self.password == _digest(password_hash)


class LoginCookies:
    """Reads and writes these cookies. `headers` are the Cookie headers of a request."""

    def __init__(self, cookie: SessionCookie, name: str, keys: Sequence[str]) -> None:
        """`name` and `keys` are those of the session cookie."""
        self._cookie = cookie
        self._name = name
        self.use_keys(keys)

    def use_keys(self, keys: Sequence[str]) -> None:
        """Sign and verify with these keys from now on."""
        self._signer = make_signer(keys, "latchkey.proven-password")

    # -- the password is proven, the code is not --

    def proven(self, headers: Sequence[str], now: float, *, secure: bool) -> Proven | None:
        """Return whose password this browser has shown in the last ten minutes."""
        values = values_of(self._full_name("proven", secure), headers)
        for value in itertools.islice(values, _MAX_CANDIDATES):
            found = self._read(value)
            if found is not None and 0 <= now - found.time < _PROVEN_TIME:
                return found
        return None

    def set_proven(self, proof: Proof, next: str, now: float, *, secure: bool) -> str:
        """Return the Set-Cookie value for a browser that has shown a right password."""
        assert proof.account is not None
        found = Proven(proof.account.id, _digest(proof.password_hash or ""), next, now)
        value = base64.urlsafe_b64encode(msgspec.json.encode(found)).decode().rstrip("=")
        return self._set("proven", self._signer.sign(value).decode(), _PROVEN_TIME, secure)

    def forget_proven(self, *, secure: bool) -> str:
        """Return the Set-Cookie value for a browser that is done."""
        return "; ".join([f"{self._full_name('proven', secure)}=", *_GONE, *self._flags(secure)])

    # -- trusted devices --

    def trusted(self, headers: Sequence[str], account_id: str, *, secure: bool) -> str:
        """Return the token of a trusted device of this account; "" if there is none."""
        values = values_of(self._full_name(_trusted(account_id), secure), headers)
        return next((value for value in values if len(value) <= _MAX_LENGTH), "")

    def set_trusted(self, account_id: str, token: str, *, secure: bool) -> str:
        """Return the Set-Cookie value for a device that its user trusts."""
        return self._set(_trusted(account_id), token, _TRUST_TIME, secure)

    # -- private --

    def _full_name(self, what: str, secure: bool) -> str:
        return self._cookie.name_below(f"{self._name}-{what}", secure=secure)

    def _flags(self, secure: bool) -> list[str]:
        return self._cookie.attributes(secure=secure, below=_PATH)

    def _set(self, what: str, value: str, max_age: int, secure: bool) -> str:
        parts = [f"{self._full_name(what, secure)}={value}", f"Max-Age={max_age}"]
        return "; ".join([*parts, *self._flags(secure)])

    def _read(self, value: str) -> Proven | None:
        if len(value) > _MAX_LENGTH or not value.isascii():
            return None
        try:
            text = self._signer.unsign(value)
            padded = text + b"=" * (-len(text) % 4)
            return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=Proven)
        except (BadSignature, ValueError):  # a release may have written other fields
            return None


def _trusted(account_id: str) -> str:
    # one for each account, so that two users of a browser can both trust it
    return "trusted-" + _digest(account_id)[:12]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
