"""The deadline for a message that arrives in several frames or packets."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.receiver import ProtocolError
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


class MessageDeadline:
    """Closes a client that does not send the rest of a message in time."""

    __slots__ = ("_clock", "_connection", "timer")

    def __init__(self, clock: Clock, connection: Reader) -> None:
        self._clock = clock
        self._connection = connection
        self.timer: Timer | None = None  # runs while the rest of a message has to follow

    def start(self) -> None:
        """Wait for the rest of a message, unless the deadline runs already."""
        if self.timer is None:
            self.timer = Timer(self._passed)
            self._clock.wheel.start(self.timer, MESSAGE_TIMEOUT)

    def stop(self) -> None:
        """Stop the deadline: the message is complete, or the connection closes."""
        if self.timer is not None:
            self._clock.wheel.stop(self.timer)
            self.timer = None

    def _passed(self) -> None:
        connection, timer = self._connection, self.timer
        if timer is not None and (connection.busy or connection.transport.congested):
            self._clock.wheel.start(timer, MESSAGE_TIMEOUT)  # the server does not read
        elif timer is not None and connection.transport.unread():
            self._clock.wheel.start(timer, 0)
        else:
            connection.refuse(ProtocolError("the rest of a message did not arrive in time"))
