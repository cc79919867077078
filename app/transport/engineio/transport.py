"""The transport of a connection: polling or WebSocket."""

from __future__ import annotations

from typing import Protocol

from app.transport.engineio.message import Message


class Transport(Protocol):
    """What a connection asks of polling and of WebSocket."""

    name: str

    @property
    def congested(self) -> bool:
        """Whether nothing is read until the client has taken more of what it was sent."""
        ...

    def send(self, packet: bytes | Message) -> None:
        """Send a message, or one Engine.IO packet in bytes."""

    def ping(self) -> int:
        """Send a ping before what waits; return how far it reaches, in bytes sent in all."""
        ...

    def delivered(self, mark: int) -> bool:
        """Tell whether everything up to `mark` has left this process."""
        ...

    def waiting(self) -> int:
        """Return how many bytes wait in this process."""
        ...

    def taken(self) -> int:
        """Return how much the client has taken, on the same scale."""
        ...

    def behind(self, mark: int) -> bool:
        """Return whether the data up to `mark` cannot have reached the client yet."""
        ...

    def unread(self) -> bool:
        """Whether something that the client has sent is still to be read."""
        ...

    def resume(self) -> None:
        """Go on with what the client sent: the connection is no longer busy."""

    def close(self, reason: str, code: int) -> None:
        """Send what is waiting, then the end; never wait for the client."""
