"""The cookie that carries the token of a link from its address to the page behind it.

A token in the address bar would stay in the browser's history and in the logs of proxies that log
queries. The first request stores it in this cookie and redirects to the page without it. Scripts
are not needed for that, which the fragment of an address would need.
"""

from __future__ import annotations

from app.settings import Settings
from app.web.session_cookie import SessionCookie, values_of

_MAX_AGE = 600  # seconds that a user has for the form before they follow the link again
_MAX_LENGTH = 100  # characters; a token has 43


class LinkCookie:
    """Reads and writes this cookie for one page."""

    def __init__(self, settings: Settings, session_cookie: SessionCookie, path: str) -> None:
        """`path` is that of the page, without the base path; no other page gets the cookie."""
        self._name = settings.cookie_name + "-link"
        self._path = settings.base_path + path
        self._session_cookie = session_cookie

    def read(self, headers: list[str], *, secure: bool) -> str:
        """Return the token in these Cookie headers; an empty string if there is none."""
        value = next(values_of(self._full_name(secure), headers), "")
        return value if len(value) <= _MAX_LENGTH else ""

    def set(self, token: str, *, secure: bool) -> str:
        """Return the Set-Cookie value that stores a token, or with an empty one forgets it."""
        age = _MAX_AGE if token else 0
        # Lax, or browsers would not send it to the page when the link was in a web mailer
        flags = [f"Max-Age={age}", f"Path={self._path}", "HttpOnly", "SameSite=Lax"]
        if self._is_secure(secure):
            flags.append("Secure")
        return "; ".join([f"{self._full_name(secure)}={token}", *flags])

    def _full_name(self, secure: bool) -> str:
        return self._session_cookie.name_below(self._name, secure=secure)

    def _is_secure(self, secure: bool) -> bool:
        return "Secure" in self._session_cookie.attributes(secure=secure)
