"""The deadline for a message that arrives in several frames or packets."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.receiver_protocol import ProtocolError
from app.transport.engineio.transport import Transport
from app.transport.timers import Timer

#: Seconds that a message has until its last fragment and its last attachment are here.
MESSAGE_TIMEOUT = 30.0


class Reader(Protocol):
    """The connection that the message comes to."""

    @property
    def busy(self) -> bool: ...
    @property
    def transport(self) -> Transport: ...

    def refuse(self, error: ProtocolError) -> None:
        """Close the connection: the client has broken the protocol."""


class MessageDeadline(Timer):
    """Closes a client that does not send the rest of a message in time."""

    __slots__ = ("_clock", "_connection")

    def __init__(self, clock: Clock, connection: Reader) -> None:
        super().__init__()
        self._clock = clock
        self._connection = connection
        clock.wheel.start(self, MESSAGE_TIMEOUT)

    def stop(self) -> None:
        """Stop the deadline: the message is complete, or the connection closes."""
        self._clock.wheel.stop(self)

    def run(self) -> None:
        connection = self._connection
        if connection.busy or connection.transport.congested:
            self._clock.wheel.start(self, MESSAGE_TIMEOUT)  # the server does not read
        elif connection.transport.unread():
            self._clock.wheel.start(self, 0)
        else:
            connection.refuse(ProtocolError("the rest of a message did not arrive in time"))
