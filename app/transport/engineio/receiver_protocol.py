"""The layer above Engine.IO, which receives the messages of each connection."""

from __future__ import annotations

from typing import Protocol


class ProtocolError(ValueError):
    """A client broke the protocol; the text never holds what the client sent."""


class Receiver(Protocol):
    """Receives the messages of one connection."""

    def received(self, data: str | bytes) -> None:
        """Act on one message. Raise ProtocolError to close the connection."""

    def upgraded(self) -> None:
        """Note that the connection has moved from polling to a WebSocket."""

    def closed(self, reason: str) -> None:
        """Note that the connection has closed; called exactly once."""
