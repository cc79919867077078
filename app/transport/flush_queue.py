"""Answers to several clients in one turn of the loop, written one right after the other."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

#: Seconds after which what was collected is written once the present handler returns.
_MAX_WAIT = 0.001


class Writer(Protocol):
    """Collects what one client is sent."""

    def flush(self) -> None:
        """Write what was collected."""

    def fail(self) -> None:
        """Log the exception that is being handled, and cut the connection."""


class FlushQueue:
    """The writers that have something to write in this turn of the loop, which all servers share.

    A program on the same machine, such as nginx, may sleep until it is sent something. On a virtual
    machine a write that wakes it can cost three times as much as one that does not. If several
    writes follow one another at once, only the first wakes it.
    """

    __slots__ = ("_since", "_writers", "held")

    def __init__(self) -> None:
        self._writers: list[Writer] = []
        self._since = 0.0  # when the first of them was added
        #: Whether `add` leaves the flush to the Engine.IO server, which is acting on events.
        self.held = False

    def add(self, writer: Writer) -> None:
        """Flush this writer at the end of this turn, or when the Engine.IO server does."""
        if not self._writers:
            self._since = monotonic()
            if not self.held:
                asyncio.get_running_loop().call_soon(self.flush)
        self._writers.append(writer)

    def flush_if_late(self) -> None:
        """Flush all writers if the first has waited for a millisecond."""
        if self._writers and monotonic() - self._since >= _MAX_WAIT:
            self.flush()

    def flush(self) -> None:
        """Flush all writers now."""
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.flush()
            except Exception:
                writer.fail()
