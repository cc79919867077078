"""Data that waits for a client, and when the client is too slow."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from typing import Protocol

from app.transport.clock import Clock
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

    def stalled(self) -> None:
        """Close the client, which has taken nothing for too long."""


class Backlog:
    """Watches a client for which more than `--send-buffer` bytes wait.

    The client is slow once it has taken nothing for `--send-timeout` seconds. The timer runs only
    while that much waits, so other clients cost nothing.
    """

    __slots__ = ("_clock", "_moved", "_sender", "_taken", "_timer", "_watching")

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self._clock = clock
        self._sender = sender
        self._timer = Timer(self._check)
        self._watching = False
        self._taken = 0
        self._moved = 0.0  # loop time at which `_taken` was different

    def watch(self) -> None:
        """Start checking, unless it has started already."""
        if self._watching:
            return
        self._watching = True
        self._taken, self._moved = self._sender.taken(), self._clock.loop.time()
        self._check_later()

    def stop(self) -> None:
        """Stop checking."""
        self._watching = False
        self._clock.wheel.stop(self._timer)

    def _check_later(self) -> None:
        self._clock.wheel.start(self._timer, self._clock.settings.send_timeout / _CHECKS)

    def _check(self) -> None:
        settings, now = self._clock.settings, self._clock.loop.time()
        if self._sender.waiting() <= settings.send_buffer:
            self._watching = False
            return
        taken = self._sender.taken()
        if taken != self._taken:
            self._taken, self._moved = taken, now
        elif now - self._moved >= settings.send_timeout:
            self._watching = False
            self._sender.stalled()
            return
        self._check_later()


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes of a socket the client's machine has not acknowledged.

    A slow connection empties the write buffer in steps of a megabyte, since the kernel keeps so
    much. This number falls with each packet that arrives.
    """
    return _ask_kernel(transport, termios.TIOCOUTQ)


def unread(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes have arrived on a socket that the server has not read."""
    return _ask_kernel(transport, termios.FIONREAD)


def _ask_kernel(transport: asyncio.BaseTransport, request: int) -> int:
    """Ask for a number of bytes; 0 if the socket is closed or the system cannot tell."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int.from_bytes(fcntl.ioctl(descriptor, request, bytes(4)), sys.byteorder)
    except (AttributeError, OSError, RuntimeError, ValueError):
        return 0
