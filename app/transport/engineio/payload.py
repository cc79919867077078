"""A payload of the long-polling transport: several Engine.IO packets in one body."""

from __future__ import annotations

SEPARATOR = "\x1e"


class Payload:
    """The packets of one POST, taken one by one: a list of 300,000 tiny ones is 24 MB."""

    __slots__ = ("_at", "_body", "empty")

    def __init__(self, body: str) -> None:
        self._body = body
        self._at = 0
        self.empty = False  # an empty body is one empty packet

    def take(self) -> str:
        """Return the next packet."""
        end = self._body.find(SEPARATOR, self._at)
        self.empty = end < 0
        packet = self._body[self._at :] if self.empty else self._body[self._at : end]
        self._at = end + 1
        return packet
