"""Requests as Tornado makes them, without a connection, for rules that only read headers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine


def request(
    *headers: tuple[str, str],
    address: str = "192.0.2.1",
    protocol: str = "http",
    host: str = "example.com",
) -> HTTPServerRequest:
    """Return a request with these headers; a header may come more than once."""
    lines = HTTPHeaders()
    for name, value in (("Host", host), *headers):
        lines.add(name, value)
    peer: Any = SimpleNamespace(context=SimpleNamespace(remote_ip=address, protocol=protocol))
    return HTTPServerRequest(
        headers=lines, connection=peer, start_line=RequestStartLine("GET", "/", "HTTP/1.1")
    )
