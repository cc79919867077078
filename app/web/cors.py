"""CORS: the headers that let pages of trusted origins read what this server answers (Fetch, 3.3).

`early_answers.py` answers their preflights; `origin.py` says which origins may send requests.
"""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPServerRequest

from app.web.origin import Origins


def trusted_origin(request: HTTPServerRequest, trusted: Origins) -> str | None:
    """Return the Origin of this request if it is in --trusted-origins, for CORS headers."""
    origin: str | None = request.headers.get("Origin")
    return origin if origin in trusted else None


def cors_headers(headers: HTTPHeaders, trusted: Origins) -> dict[str, str]:
    """Return the headers that let a page of a trusted origin read a response (Fetch, 3.3).

    `headers` are those of the request.
    """
    if not trusted:
        return {}
    origin: str | None = headers.get("Origin")
    if origin is None or origin not in trusted:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
    }
