"""Which origins may call: the request's own, and those in --trusted-origins.

Tornado's cross-origin protection looks after pages; this is the same rule for the Socket.IO
endpoint, where a GET changes things too (OWASP ASVS 5.0, 4.4.2 and 3.5.1).
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest


def origin_error(request: HTTPServerRequest, trusted: Collection[str]) -> str | None:
    """Return why this request may not come from where it comes from, or None where it may."""
    origins = request.headers.get_list("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if len(origins) > 1:
        return "more than one Origin"
    origin = origins[0] if origins else None
    if origin is not None and origin.lower() in trusted:
        return None
    if site not in (None, "same-origin", "none"):
        return f"Sec-Fetch-Site is {site[:40]!r} and the Origin is not in --trusted-origins"
    if origin is not None and not _own(origin, request):
        return f"Origin {origin[:200]!r} is neither this host nor in --trusted-origins"
    return None


def trusted_origin(request: HTTPServerRequest, trusted: Collection[str]) -> str | None:
    """Return the Origin of this request if it is another's whom we trust (for CORS headers)."""
    origin = request.headers.get("Origin")
    return origin if origin is not None and origin.lower() in trusted else None


def _own(origin: str, request: HTTPServerRequest) -> bool:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    # a scheme of http may be that of a proxy which is not declared as trusted
    schemes = ("https",) if request.protocol == "https" else ("http", "https")
    return (
        parts.scheme in schemes
        and bool(parts.netloc)
        and parts.netloc == (request.headers.get("Host") or "").lower()
    )
