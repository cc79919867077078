"""The Cookie header of a request (RFC 6265, 4.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from http.cookies import CookieError, SimpleCookie


def cookie_pairs(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each cookie, in the order of the browser.

    Names are exact. Only HTTP's white space is removed: `str.strip()` would also remove U+00A0 and
    U+0085, and so turn a name that any host may set into one with the prefix `__Host-`.
    """
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.strip(" \t").partition("=")
            if equals:
                yield name, value


def cookie_jar(headers: Iterable[str]) -> SimpleCookie:
    """Return the cookies by name, as `tornado.web.RequestHandler.cookies` has them."""
    jar = SimpleCookie()
    for name, value in cookie_pairs(headers):
        with contextlib.suppress(CookieError):  # the name is no token
            jar[name] = jar.value_decode(value)[0]
    return jar
