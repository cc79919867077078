"""The token bucket of one connection: its share of --events-per-second."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.timers import Timer

#: Bytes of a message that cost one token of --events-per-second more.
BYTES_PER_TOKEN = 10_000


class Limits(Clock, Protocol):
    """What all buckets share; the engine."""

    limited: bool  # False: no limit, spending does nothing
    refill: float  # seconds in which one token comes back
    most_owed: float  # seconds from full at which a bucket still has one token
    throttled: int  # times that a bucket was empty


class Reader(Protocol):
    """A connection that reads only while its bucket has tokens."""

    def throttle(self, *, control: bool) -> None:
        """Stop reading: the bucket is empty."""

    def update_busy(self) -> None:
        """Read again if nothing else prevents it: the bucket has a token."""


class TokenBucket(Timer):
    """Holds the tokens of two seconds. While it is empty, the connection does not read.

    Its state is one time (GCRA), since a token is spent for every event.
    """

    __slots__ = ("_connection", "_full", "_limits", "empty")

    def __init__(self, limits: Limits, connection: Reader) -> None:
        super().__init__()
        self._limits = limits
        self._connection: Reader | None = connection  # None: it has closed
        self._full = 0.0  # loop time at which the bucket will be full again
        self.empty = False  #: whether reading has to wait for the next token

    def spend(self, size: int = 0, *, control: bool = False) -> None:
        """Charge for a frame or packet of this many bytes: one token, and one for each 10 kB.

        A large message is not delayed itself; the client waits with what follows it. `control`
        is for a frame that carries no packet: a flood of those does not stop the ping deadline.
        """
        limits = self._limits
        if not limits.limited:
            return
        now, full = limits.loop.time(), self._full
        cost = limits.refill * (1 + size // BYTES_PER_TOKEN)
        self._full = full = (full if full > now else now) + cost
        if full > now + limits.most_owed and not self.empty and self._connection is not None:
            limits.throttled += 1
            self.empty = True
            limits.wheel.start(self, full - now - limits.most_owed)
            self._connection.throttle(control=control)

    def charge(self, events: int) -> None:
        """Take tokens for so many events; if too few are left, the next event pauses reading."""
        limits = self._limits
        if limits.limited:
            self._full = max(self._full, limits.loop.time()) + events * limits.refill

    def stop(self) -> None:
        """Let go of the connection: it closes."""
        self._connection = None
        self._limits.wheel.stop(self)

    def run(self) -> None:
        self.empty = False
        if self._connection is not None:
            self._connection.update_busy()
