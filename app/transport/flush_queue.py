"""Writes to many clients, one right after the other at the end of a turn of the loop."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

_MAX_WAIT = 0.001  # seconds that an answer waits for others


class Writer(Protocol):
    """Collects what one client is sent."""

    def flush(self) -> None:
        """Write what was collected."""

    def fail(self) -> None:
        """Log the exception that is being handled, and cut the connection."""


class FlushQueue:
    """The writers that have something to write in this turn of the loop.

    A program on the same machine, such as nginx, may sleep until it is written to. A write that
    wakes it can cost a virtual machine three times as much as another one. Of several writes, one
    right after the other, only the first wakes it.
    """

    __slots__ = ("_since", "_writers", "held")

    def __init__(self) -> None:
        self._writers: list[Writer] = []
        self._since = 0.0  # when the first of them was added
        self.held = False  #: whether the caller of `add` calls `flush` itself

    def add(self, writer: Writer) -> None:
        """Flush this writer at the end of this turn of the loop."""
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
