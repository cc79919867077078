"""A deadline that stops while the server does not read."""

from __future__ import annotations

import asyncio
import math


class Deadline:
    """The loop time by which a client has to send something; infinite if it need not."""

    __slots__ = ("_loop", "_paused_at", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._paused_at = 0.0  # loop time
        self.due = math.inf

    def set(self, seconds: float) -> None:
        """Let the deadline pass in so many seconds."""
        self.due = self._loop.time() + seconds

    def clear(self) -> None:
        """Let the deadline never pass."""
        self.due = math.inf

    def pause(self) -> None:
        """Stop the deadline, since the server does not read."""
        self._paused_at = self._loop.time()

    def resume(self) -> None:
        """Let the deadline run on, since the server reads again."""
        self.due += self._loop.time() - self._paused_at
