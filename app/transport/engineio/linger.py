"""The time after our close frame in which a WebSocket's client takes the rest and closes."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.progress import Progress
from app.transport.timers import Timer

#: Seconds in which a client has to close its side after it has taken our close frame.
LINGER = 2.0
#: Seconds that it has at most to take what was sent before the close frame.
LONGEST_LINGER = 60.0
#: Bytes that it may still send then, which are dropped.
DRAIN = 8_000_000


class Socket(Protocol):
    """A WebSocket that has sent its close frame. All numbers are bytes."""

    def taken(self) -> int:
        """Return how much has reached the client's machine."""
        ...

    def untaken(self) -> int:
        """Return how much has not, in this process or in the kernel."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""


class Linger(Timer):
    """Waits for the client to take what was sent and to close, then cuts the socket.

    The client has LINGER seconds once it has taken everything. Until then it is cut if it takes
    nothing for --send-timeout.
    """

    __slots__ = ("_began", "_clock", "_dropped", "_progress", "_socket")

    def __init__(self, clock: Clock, socket: Socket, taken: int) -> None:
        """`taken` bytes are with the client or the kernel, on the scale of `Socket.taken`."""
        super().__init__()
        self._clock = clock
        self._socket = socket
        self._progress = Progress(clock, taken)
        self._began = clock.loop.time()
        self._dropped = 0  # bytes that came after our close frame
        clock.wheel.start(self, LINGER)

    def drop(self, size: int) -> None:
        """Count bytes that the client still sends; cut the connection if they are too many."""
        self._dropped += size
        if self._dropped > DRAIN:
            self._socket.abort()

    def stop(self) -> None:
        """Stop the timer: the connection is lost."""
        self._clock.wheel.stop(self)

    def run(self) -> None:
        lingered = self._clock.loop.time() - self._began
        if self._in_time() and lingered < LONGEST_LINGER:
            self._clock.wheel.start(self, LINGER)
        else:
            self._socket.abort()

    def _in_time(self) -> bool:
        """Return whether the client still takes what was sent."""
        idle = self._progress.idle(self._socket.taken())
        waiting = self._socket.untaken() > 0
        return idle == 0 or (waiting and idle < self._clock.settings.send_timeout)
