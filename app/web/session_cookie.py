"""The session cookie: a signed session id, and the attributes of the cookie.

RFC 6265bis; OWASP ASVS 5.0, 3.3. itsdangerous signs the id with HMAC-SHA256, so that a guessed or
damaged id is refused without a store call.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from itsdangerous import BadSignature, Signer

from app.settings import Settings
from app.transport.http.cookies import cookie_pairs

_SALT = "latchkey.session-id"
_MAX_LENGTH = 256  # characters of a value; a signed id has 87
_MAX_CACHED = 4096  # values whose verification is cached
_MAX_CANDIDATES = 8  # cookies of our name in one request that are verified


def make_signer(keys: Sequence[str], salt: str) -> Signer:
    """Return a signer that signs with the last of these keys and verifies with all of them.

    `salt` names the purpose; a signature for one purpose is not valid for another.
    """
    signer = Signer(list(keys), salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
    # this one would derive the same keys again for each value
    derived = [signer.derive_key(key) for key in signer.secret_keys]
    return Signer(derived, salt=salt, key_derivation="none", digest_method=hashlib.sha256)


def values_of(name: str, headers: Sequence[str]) -> Iterator[str]:
    """Yield the values of the cookies with this name, in the order of the browser."""
    for key, value in cookie_pairs(headers):
        if key == name:
            yield value


class CookieId(NamedTuple):
    """A session id with a valid signature; `stale` if an older key signed it."""

    session_id: str
    stale: bool


class SessionCookie:
    """Reads session ids from Cookie headers and writes Set-Cookie headers."""

    def __init__(self, settings: Settings, keys: Sequence[str]) -> None:
        """`keys` are in order of age: the last one signs, all of them verify."""
        self._settings = settings
        self.use_keys(keys)
        self._names = {secure: self._make_name(secure) for secure in (False, True)}
        self._attributes = {secure: self.attributes(secure=secure) for secure in (False, True)}

    def use_keys(self, keys: Sequence[str]) -> None:
        """Sign and verify with these keys from now on."""
        if not keys:
            raise ValueError("the session cookie needs a signing key")
        self._signer = make_signer(keys, _SALT)
        self._newest = make_signer(keys[-1:], _SALT)
        # cached, because a browser sends the same value with every request
        self._verified = functools.lru_cache(_MAX_CACHED)(self._verify)

    def name(self, *, secure: bool) -> str:
        """Return the cookie's name; `__Host-` keeps other hosts from setting it (RFC 6265bis).

        Below a base path the prefix is `__Secure-`.
        """
        return self._names[secure]

    def _make_name(self, secure: bool) -> str:
        if not self._secure(secure) or self._settings.cookie_domain:
            return self._settings.cookie_name
        # browsers accept __Host- with Path=/ only; __Secure- keeps plain http from setting it
        prefix = "__Secure-" if self._settings.base_path else "__Host-"
        return prefix + self._settings.cookie_name

    def read(self, headers: Sequence[str], *, secure: bool) -> list[CookieId]:
        """Return the valid ids in these Cookie headers, in the order of the browser.

        Invalid cookies are skipped, so that they cannot hide a valid one of the same name.
        """
        name = self.name(secure=secure)
        found: list[CookieId] = []
        for value in itertools.islice(values_of(name, headers), _MAX_CANDIDATES):
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            if len(value) > _MAX_LENGTH or not value.isascii():
                continue
            cookie = self._verified(value)
            if cookie is not None and cookie not in found:
                found.append(cookie)
        return found

    def _verify(self, value: str) -> CookieId | None:
        try:
            session_id = self._newest.unsign(value).decode()
            return CookieId(session_id, stale=False)
        except BadSignature:
            pass
        try:
            return CookieId(self._signer.unsign(value).decode(), stale=True)
        except BadSignature:
            return None

    def set(self, session_id: str, *, secure: bool, max_age: float) -> str:
        """Return a Set-Cookie value; `max_age` is seconds, infinity: until the browser closes."""
        value = self._newest.sign(session_id).decode()
        lifetime = [] if math.isinf(max_age) else [f"Max-Age={max(0, int(max_age))}"]
        return "; ".join([f"{self._names[secure]}={value}", *lifetime, *self._attributes[secure]])

    def delete(self, *, secure: bool) -> str:
        """Return a Set-Cookie value that makes the browser forget the cookie."""
        gone = ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
        return "; ".join([f"{self._names[secure]}=", *gone, *self._attributes[secure]])

    def name_below(self, name: str, *, secure: bool) -> str:
        """Return the name of another cookie of the site, for one path only.

        `__Secure-` keeps plain http from setting it (RFC 6265bis); `__Host-` asks for Path=/.
        """
        return ("__Secure-" if self._secure(secure) else "") + name

    def _secure(self, secure: bool) -> bool:
        wanted = self._settings.cookie_secure
        return secure if wanted == "auto" else wanted == "yes"

    def attributes(self, *, secure: bool, below: str = "") -> list[str]:
        """Return the attributes for a Set-Cookie value, as the settings ask for them.

        `below` is a path of this application, without the base path; empty: all of them.
        """
        settings, secure = self._settings, self._secure(secure)
        samesite = settings.cookie_samesite
        if samesite == "none" and not secure:
            samesite = "lax"  # browsers drop SameSite=None without Secure
        flags = [
            f"Path={settings.base_path + below or '/'}",
            "HttpOnly",
            f"SameSite={samesite.capitalize()}",
        ]
        if settings.cookie_domain:
            flags.append(f"Domain={settings.cookie_domain}")
        if secure:
            flags.append("Secure")
        if settings.cookie_partitioned and secure:
            flags.append("Partitioned")
        return flags
