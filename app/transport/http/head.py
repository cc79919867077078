"""The head of an HTTP/1 request. A head that two parsers could read in two ways is refused.

There is one grammar (RFC 9112, sections 2 to 6): no bare CR or LF, no folded
lines, no space before a colon, no control characters, no second Content-Length, no transfer
coding but `chunked`. Nothing here does I/O.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tornado.httputil import RequestStartLine

from app.transport.http.headers import Fields, Headers

_MAX_FIELDS = 100
_NO_HOST = "127.0.0.1"  # for HTTP/1.0, as Tornado has it
# RFC 9112, 3 and 5; RFC 9110, 5.6.2 (token) and 5.5 (field-value)
_HEAD = re.compile(
    rb"(?:\r\n)?"  # RFC 9112, 2.2: one empty line before a request is ignored
    rb"[A-Z]+ [!-~]+ HTTP/[0-9]\.[0-9]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)
_INVALID = re.compile(
    rb"\A(?!(?:\r\n?)?(?:[A-Z]|\Z))|(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
_MAX_MARK_SIZE = 3  # bytes of the end of a head, or of an invalid piece, that may be cut off
_ABSOLUTE = re.compile(r"https?://([^/?]+)(/.*)?", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,15}")
# RFC 9110, 7.2 and RFC 3986, 3.2.2; brackets and colons wherever they are
_HOST_PART = r"[A-Za-z0-9._~!$&'()*+;=\[\]:-]*"
_HOST = re.compile(rf"{_HOST_PART}(?:%[0-9A-Fa-f]{{2}}{_HOST_PART})*")


class Refused(Exception):
    """A request that is refused with `status`, after which its connection closes."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)  # for the log; nothing in it comes from the client
        self.status = status


class Head(NamedTuple):
    """What the head of a request says."""

    start_line: RequestStartLine
    headers: Headers
    host: str
    length: int | None  # bytes of the body; None: chunked
    keep_alive: bool
    expects_continue: bool


def find_head(data: bytes | bytearray, limit: int, searched: int = 0) -> int:
    """Return where the head at the beginning of `data` ends, 0 if its end has not come yet.

    The first `searched` bytes were searched before. Raises Refused as soon as the data cannot
    become a head of at most `limit` bytes.
    """
    start = max(searched - _MAX_MARK_SIZE, 0)
    end = data.find(b"\r\n\r\n", start, limit) + 4
    if end > 3:
        return end
    if _INVALID.search(data, start, limit):
        raise Refused(400, "not an HTTP request")
    if len(data) >= limit:
        if data.find(b"\r\n", 0, limit) < 0:
            raise Refused(414, "request line too long")
        raise Refused(431, "header fields too large")
    return 0


def parse_head(data: bytes) -> Head:
    """Read a whole head, with the empty line at its end. Raises Refused."""
    if not _HEAD.fullmatch(data):
        raise Refused(400, "malformed request line or header field")
    request_line, *lines = data.decode("latin-1").strip("\r\n").split("\r\n")
    method, target, version = request_line.split(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505, "HTTP version not supported")
    if len(lines) > _MAX_FIELDS:
        raise Refused(431, "too many header fields")
    headers = Headers.of_lines(lines)
    fields = headers.fields
    return Head(
        RequestStartLine(method, _origin_form(method, target, fields), version),
        headers,
        _host(version, fields),
        _length(version, fields),
        _keep_alive(version, fields),
        _expects_continue(version, fields),
    )


def _origin_form(method: str, target: str, fields: Fields) -> str:
    """Return the target as path and query (RFC 9112, 3.2); an absolute one must be our Host's."""
    if "#" not in target:
        if target[0] == "/" or (target == "*" and method == "OPTIONS"):
            return target
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute and [absolute[1].lower()] == [host.lower() for host in fields.get("Host", ())]:
            return absolute[2] or "/"
    raise Refused(400, "malformed request target")


def _host(version: str, fields: Fields) -> str:
    """Return the one Host that there has to be (RFC 9112, 3.2)."""
    hosts = fields.get("Host", ())
    if not hosts and version == "HTTP/1.0":
        return _NO_HOST
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise Refused(400, "missing, repeated or malformed Host")
    return hosts[0]


def _length(version: str, fields: Fields) -> int | None:
    """Return the length of the body, None if it is chunked (RFC 9112, 6.1 to 6.3)."""
    lengths = fields.get("Content-Length")
    codings = fields.get("Transfer-Encoding")
    if codings:
        chunked = len(codings) == 1 and codings[0].lower() == "chunked"
        if lengths or not chunked or version == "HTTP/1.0":
            raise Refused(400, "unsupported Transfer-Encoding")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Refused(400, "repeated or malformed Content-Length")
    return int(lengths[0])


def _keep_alive(version: str, fields: Fields) -> bool:
    """Apply RFC 9112, 9.3."""
    values = fields.get("Connection")
    if not values:
        return version == "HTTP/1.1"
    options = [option.strip(" \t") for option in ",".join(values).lower().split(",")]
    return "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)


def _expects_continue(version: str, fields: Fields) -> bool:
    """Apply RFC 9110, 10.1.1."""
    values = fields.get("Expect")
    if not values or version == "HTTP/1.0":
        return False
    if [value.lower() for value in values] != ["100-continue"]:
        raise Refused(417, "unsupported Expect")
    return True
