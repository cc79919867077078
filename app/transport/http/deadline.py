"""A deadline that does not run while the server does not read."""

from __future__ import annotations

import asyncio
import math


class Deadline:
    """The loop time until which a client is waited for; infinite if nothing is waited for."""

    __slots__ = ("_loop", "_paused_at", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._paused_at = 0.0  # loop time
        self.due = loop.time() + seconds

    def set(self, seconds: float) -> None:
        """Wait for so many seconds from now."""
        self.due = self._loop.time() + seconds

    def clear(self) -> None:
        """Wait for nothing."""
        self.due = math.inf

    def pause(self) -> None:
        """Stop the deadline: the server stops reading, or has not begun to."""
        self._paused_at = self._loop.time()

    def resume(self) -> None:
        """Let the deadline run on: the server reads again."""
        self.due += self._loop.time() - self._paused_at
