"""The heartbeat of one connection: pings, and the deadline for the client's pong."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.transport import Transport
from app.transport.timers import Timer

#: Bytes before a ping, or waiting behind it, that may take a client long to read.
MUCH = 65536


class Client(Protocol):
    """The connection that has to answer pings."""

    @property
    def busy(self) -> bool: ...
    @property
    def transport(self) -> Transport: ...

    def close_slow(self) -> None:
        """Close the client, which reads too slowly."""

    def complain(self, why: str) -> None:
        """Log a fault of the client, rate-limited."""

    def close(self, reason: str) -> None: ...


class Heartbeat(Timer):
    """Pings the client every --ping-interval; closes it if no pong comes in --ping-timeout.

    The deadline moves while the client still takes what was sent before the ping; then the client
    has the whole --ping-timeout. The deadline stands still while the server does not read.
    """

    __slots__ = (
        "_behind",
        "_clock",
        "_connection",
        "_mark",
        "_paused_at",
        "_pinged_at",
        "_taken",
        "_time_left",
    )

    def __init__(self, clock: Clock, connection: Client) -> None:
        super().__init__()
        self._clock = clock
        self._connection = connection
        #: The transport that the last ping went to, and how far it reaches there; None: answered.
        self._mark: tuple[Transport, int] | None = None
        self._pinged_at = 0.0  # loop time
        self._taken = 0  # bytes that the client had taken when its deadline was set
        self._behind = False  # whether it had yet to come to the ping at that time
        self._paused_at = 0.0  # loop time at which the server stopped reading; 0: it reads
        self._time_left = 0.0  # seconds to the deadline at that time; 0: not known yet
        clock.wheel.start(self, clock.settings.ping_interval)

    def pong(self) -> None:
        """Wait for the next ping, if the client has really received the last one.

        A pong without a ping, or to a ping that has not left this process, does not prove that
        the client reads what it is sent.
        """
        if self._mark is None:
            return
        transport, mark = self._mark
        if transport is not self._connection.transport or transport.delivered(mark):
            self._mark, self._time_left = None, 0.0
            self._clock.wheel.start(self, self._clock.settings.ping_interval)

    def check(self) -> None:
        """Close the client now if its deadline has passed, without waiting for the timer."""
        clock = self._clock
        passed = self._mark is not None and self.due <= clock.loop.time()
        if passed and not clock.wheel.late:
            self.run()

    def pause(self) -> None:
        """Stop the deadline for the pong: the server does not read."""
        if not self._paused_at:
            self._paused_at = self._clock.loop.time()

    def resume(self) -> None:
        """Let the deadline run again, with the time that was left at `pause`."""
        since, left = self._paused_at, self._time_left
        self._paused_at = self._time_left = 0.0
        if self._mark is None or not since:
            return
        settings = self._clock.settings
        left = left or min(self.due - since, settings.ping_timeout)
        self._clock.wheel.start(self, max(left, 0.0))
        if self._clock.loop.time() - self._pinged_at >= settings.ping_interval:
            self._ping_again()

    def stop(self) -> None:
        """Stop for good, and let go of the connection: it closes."""
        self._clock.wheel.stop(self)
        self._mark = None
        del self._connection

    def run(self) -> None:
        if self._mark is None:
            self._ping()
            return
        more = self._more_time(*self._mark)
        if more is None:
            self._close()
        else:
            self._clock.wheel.start(self, more)

    def _ping(self) -> None:
        clock, transport = self._clock, self._connection.transport
        clock.wheel.extend(self, clock.settings.ping_timeout)
        mark = transport.ping()
        self._mark = transport, mark
        self._taken, self._pinged_at = transport.taken(), clock.loop.time()
        self._behind = mark - self._taken + transport.waiting() > MUCH

    def _ping_again(self) -> None:
        """Ping while the last ping is unanswered: the client has a deadline for pings too."""
        self._connection.transport.ping()
        self._pinged_at = self._clock.loop.time()

    def _more_time(self, pinged: Transport, mark: int) -> float | None:
        """Return how many seconds more the client has for its pong; None if it has no more."""
        settings, transport = self._clock.settings, self._connection.transport
        before, self._taken = self._taken, transport.taken()
        was_behind, self._behind = self._behind, transport is pinged and transport.behind(mark)
        if transport.congested or self._behind:
            return settings.ping_timeout if self._taken != before else None
        if was_behind and self._taken != before:
            return settings.ping_timeout  # it may have come to the ping a moment ago
        if self._connection.busy and self._paused_at:
            self._time_left = self._time_left or self.due - self._paused_at
            self._ping_again()
            return settings.ping_interval
        if not self._connection.busy and transport.unread():
            return 0.0  # read first what has arrived
        return None

    def _close(self) -> None:
        connection = self._connection
        if connection.transport.congested:
            connection.close_slow()
            return
        if connection.busy:
            connection.complain("closed: the client sends without pause and answers no ping")
        connection.close(Reason.PING_TIMEOUT)
