"""The framing of a response: where its body ends, and whether its connection outlives it.

Nothing here does I/O.
"""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPOutputError, ResponseStartLine

from app.transport.http.head import Head
from app.transport.http.headers import Headers
from app.transport.http.states import RESPONSE, ResponseState, follow

_NOTHING, _BODY, _SWITCHING, _COMPLETE, _SWITCHED, _CLOSED = ResponseState


class Response:
    """Turns what a handler writes into bytes (RFC 9112, 6.3, 7.1 and 9.3).

    The methods raise HTTPOutputError if the handler writes too much, too little or out of order;
    what was written before must then not be taken for a whole response.
    """

    __slots__ = ("_chunked", "_head", "_remaining", "keep_alive", "state", "status")

    def __init__(self, head: Head) -> None:
        """`head` is that of the request."""
        self._head = head
        self.state: ResponseState = _NOTHING
        self.status = 0
        self.keep_alive = head.keep_alive
        self._chunked = False
        self._remaining: int | None = None  # bytes of the body; None: any number

    @property
    def started(self) -> bool:
        """Whether the handler has given it a head."""
        return self.status > 0

    @property
    def whole(self) -> bool:
        """Whether all of the body was returned, as its length in the head or its absence tells."""
        return self._remaining == 0

    def begin(
        self, start_line: ResponseStartLine, headers: HTTPHeaders, date: str, last: bool
    ) -> bytes:
        """Return the head; `last` tells that the connection has to close after this response.

        Adds the headers that belong to the framing. Raises ValueError for malformed headers.
        """
        if self.status:
            raise HTTPOutputError("Tried to write the headers twice")
        switching = start_line.code == 101
        self._find_end(start_line.code, headers)
        if not switching:
            self._decide_keep_alive(headers, last=last)
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        if "Date" not in headers:
            headers["Date"] = date  # RFC 9110, 6.6.1
        data = _head(start_line, headers)
        self.state = follow(RESPONSE, self.state, _SWITCHING if switching else _BODY)
        self.status = start_line.code
        return data

    def piece(self, chunk: bytes) -> bytes:
        """Return a piece of the body as it is sent."""
        if not self.status:
            raise HTTPOutputError("Tried to write a body before its headers")
        if self._remaining is not None:
            self._remaining -= len(chunk)
            if self._remaining < 0:
                raise HTTPOutputError("Tried to write more data than Content-Length")
        if self._chunked and chunk:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        return chunk

    def end(self) -> bytes:
        """Return what ends the body."""
        if not self.status:
            raise HTTPOutputError("Tried to finish a response before its headers")
        if self._remaining:
            raise HTTPOutputError(
                f"Tried to write {self._remaining} bytes less than Content-Length"
            )
        switching = self.state is _SWITCHING
        self.state = follow(RESPONSE, self.state, _SWITCHED if switching else _COMPLETE)
        return b"0\r\n\r\n" if self._chunked else b""

    def close(self) -> None:
        """Note that nobody reads what is written from now on."""
        self.state = follow(RESPONSE, self.state, _CLOSED)

    def _find_end(self, status: int, headers: HTTPHeaders) -> None:
        """Decide how the end of the body shows."""
        method, _, version = self._head.start_line
        length = headers.get("Content-Length")
        self._chunked, self._remaining = False, None
        if method == "HEAD" or status < 200 or status in (204, 304):
            self._remaining = 0
        elif length is not None:
            if not length.isascii() or not length.isdecimal():
                raise ValueError("a Content-Length of the response is no number")
            self._remaining = int(length)
        elif version == "HTTP/1.1":
            self._chunked = True
        else:
            self.keep_alive = False  # the end of the connection is the end of the body

    def _decide_keep_alive(self, headers: HTTPHeaders, *, last: bool) -> None:
        if last:
            self.keep_alive = False
        elif self.keep_alive and "Connection" in headers:
            self.keep_alive = "close" not in headers["Connection"].lower()
        implied = self._head.start_line.version == "HTTP/1.1"
        if self.keep_alive is not implied:
            headers["Connection"] = "Keep-Alive" if self.keep_alive else "close"


def _head(start_line: ResponseStartLine, headers: HTTPHeaders) -> bytes:
    lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
    if isinstance(headers, Headers):
        lines += headers.lines()
    else:
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    ends = len(lines) + 1
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head:
        raise ValueError("a header of the response has CR, LF or NUL in it")
    return head
