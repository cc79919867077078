"""The response to a request that the server itself refuses."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

_HEADERS = (
    "Connection: close",
    "Content-Length: 0",
    "X-Content-Type-Options: nosniff",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
)


def refusal(status: int, date: str, added: Mapping[str, str]) -> bytes:
    """Return a response without a body, after which the connection closes; `added` are headers."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Date: {date}", *_HEADERS]
    lines += [f"{name}: {value}" for name, value in added.items()]
    return "\r\n".join([*lines, "", ""]).encode()
