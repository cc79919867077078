"""A client for which much data waits, and when it is too slow."""

from __future__ import annotations

from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.progress import Progress
from app.transport.timers import Timer

#: Bytes that Python needs for a small packet besides its content.
OVERHEAD = 100
_CHECKS = 4  # in each --send-timeout


class Sender(Protocol):
    """A transport whose client has to take what is sent. All numbers are bytes."""

    def waiting(self) -> int:
        """Return how much waits in this process."""
        ...

    def taken(self) -> int:
        """Return a number that changes whenever the client takes something."""
        ...

    def caught_up(self) -> None:
        """Drop this backlog: the client has taken enough."""

    def stalled(self) -> None:
        """Close the client, which has taken nothing for too long."""


class Backlog(Timer):
    """Watches a client for which more than `--send-buffer` bytes wait.

    The client is slow once it has taken nothing for `--send-timeout` seconds.
    """

    __slots__ = ("_clock", "_progress", "_sender")

    def __init__(self, clock: Clock, sender: Sender) -> None:
        super().__init__()
        self._clock = clock
        self._sender = sender
        self._progress = Progress(clock, sender.taken())
        self._check_later()

    def stop(self) -> None:
        """Stop watching."""
        self._clock.wheel.stop(self)

    def _check_later(self) -> None:
        self._clock.wheel.start(self, self._clock.settings.send_timeout / _CHECKS)

    def run(self) -> None:
        settings = self._clock.settings
        if self._sender.waiting() <= settings.send_buffer:
            self._sender.caught_up()
        elif self._progress.idle(self._sender.taken()) >= settings.send_timeout:
            self._sender.stalled()
        else:
            self._check_later()
