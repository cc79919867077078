"""Bytes that an HTTP client has sent and no request has taken yet."""

from __future__ import annotations

from app.transport.http.head import find_head


class HttpInput:
    """Bytes that wait to be parsed; a head that arrives in pieces is searched once."""

    __slots__ = ("_searched", "data")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self._searched = 0  # bytes that do not hold the end of the head

    def add(self, data: bytes) -> None:
        """Add what was read from the socket."""
        if not self.data:
            self.data = data
            return
        # a bytearray grows in place, so that many small reads are not copied each time
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data += data

    def take_head(self, limit: int) -> bytes | None:
        """Return the head of a request of at most `limit` bytes; None until it is complete.

        Raises Refused for a head that is too large.
        """
        end = find_head(self.data, limit, self._searched)
        if not end:
            self._searched = len(self.data)
            return None
        head = bytes(self.data[:end])
        self.data = bytes(self.data[end:])
        self._searched = 0
        return head

    def take(self) -> bytes:
        """Remove and return everything."""
        data, self.data = self.data, b""
        return bytes(data)
