"""The body of an HTTP/1 request: where it ends. Nothing here does I/O."""

from __future__ import annotations

import re

from app.transport.http.head import Refused

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_BEGINNING_OF_SIZE = re.compile(rb"[0-9A-Fa-f]{0,8}|[0-9A-Fa-f]{1,8}\r")


class FixedBody:
    """A body of as many bytes as Content-Length says (RFC 9112, 6.2)."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = not length

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of `data` is content, and what is left over."""
        content = data[: self._left]
        self._left -= len(content)
        self.done = not self._left
        return content, data[len(content) :]


class ChunkedBody:
    """A chunked body (RFC 9112, 7.1) without chunk extensions and trailers.

    Servers and proxies disagree over where those two end, which has been used to smuggle requests.
    They are refused, as Tornado does.
    """

    __slots__ = ("_at_crlf", "_last", "_left", "done")

    def __init__(self) -> None:
        self._left = 0  # bytes of this chunk still to come
        self._at_crlf = False  # a CRLF has to follow
        self._last = False
        self.done = False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of `data` is content, and what is left over until more comes."""
        content = []
        at = 0
        while not self.done:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    break
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._at_crlf = not self._left
            elif self._at_crlf:
                crlf = data[at : at + 2]
                if not b"\r\n".startswith(crlf):
                    raise Refused(400, "malformed end of a chunk")
                if len(crlf) < 2:
                    break
                at += 2
                self._at_crlf = False
                self.done = self._last
            else:
                size = _SIZE.match(data, at)
                if size is None:
                    if not _BEGINNING_OF_SIZE.fullmatch(data, at):
                        raise Refused(400, "malformed chunk size, or an extension")
                    break
                at = size.end()
                self._left = int(size[1], 16)
                self._last = self._at_crlf = not self._left
        return b"".join(content), data[at:]
