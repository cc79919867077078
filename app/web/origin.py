"""The origins that may send requests: the server's own, and those in --trusted-origins.

Pages and the Socket.IO endpoint apply the same rule (OWASP ASVS 5.0, 4.4.2 and 3.5.1). Pages apply
it to requests that change something. The endpoint applies it to every request, because its GETs
change something too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from tornado.httputil import HTTPServerRequest

_ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]+)")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?")


class Origins:
    """A set of origins and of patterns such as `https://*.example.com`; falsy if empty."""

    def __init__(self, origins: Iterable[str]) -> None:
        """`origins` are as `app.settings.addresses.origins` returns them."""
        origins = tuple(origins)
        self._exact = frozenset(origin for origin in origins if "*" not in origin)
        patterns = [re.escape(origin) for origin in origins if "*" in origin]
        label = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
        self._below = re.compile("|".join(patterns).replace(r"\*", label)) if patterns else None

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def __contains__(self, origin: object) -> bool:
        """Return whether the value of an Origin header is one of them."""
        if not isinstance(origin, str):
            return False
        origin = origin.lower()
        return origin in self._exact or bool(self._below and self._below.fullmatch(origin))


def origin_error(request: HTTPServerRequest, trusted: Callable[[str], bool]) -> str | None:
    """Return why the origin of this request is refused; None if it is allowed.

    `trusted` returns whether another origin is trusted. `Sec-Fetch-Site: same-origin` is enough:
    scripts cannot set it, and behind a proxy the Host header may lack the port that the browser
    sees.
    """
    origins = request.headers.get_list("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if len(origins) > 1:
        return "more than one Origin"
    origin = origins[0] if origins else None
    own = site in (None, "none") and (
        origin is None or _own(origin, request.protocol, request.headers.get("Host", ""))
    )
    if own or site == "same-origin" or (origin is not None and trusted(origin)):
        return None
    if site not in (None, "none"):
        return f"Sec-Fetch-Site is {site[:40]!r} and the Origin is not in --trusted-origins"
    return f"Origin {str(origin)[:200]!r} is neither this host nor in --trusted-origins"


@functools.lru_cache(256)  # browsers send few values: saves 8,000 instructions of a handshake
def _own(origin: str, protocol: str, host_field: str) -> bool:
    """Return whether an Origin names the host of its request; the scheme's own port is optional."""
    match = _ORIGIN.fullmatch(origin.lower())
    # with http, a proxy that is not in --trusted-proxies may have received the request by https
    if match is None or (protocol == "https" and match[1] != "https"):
        return False
    host = _authority(host_field.lower(), match[1])
    return host is not None and host == _authority(match[2], match[1])


def _authority(text: str, scheme: str) -> tuple[str, str] | None:
    match = _AUTHORITY.fullmatch(text)
    return None if match is None else (match[1], match[2] or ("443" if scheme == "https" else "80"))
