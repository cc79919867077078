"""The time of the next checkpoint: when no write came for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_IDLE_TIMEOUT = 2.0  # seconds without a write after which a checkpoint is due
_MAX_DELAY = 60.0  # seconds after which it is due although writes go on


class CheckpointTimer:
    """Calls back once after some writes, when the database is idle.

    Writes wait for a checkpoint. A busy database makes its own every 1000 pages.
    """

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due
        self._timer: asyncio.TimerHandle | None = None
        self._written = self._latest = 0.0  # of the loop's clock

    def written(self, loop: asyncio.AbstractEventLoop) -> None:
        """Plan a checkpoint after a write."""
        self._written = loop.time()
        if self._timer is None:
            self._latest = self._written + _MAX_DELAY
            self._start(loop, _IDLE_TIMEOUT)

    def cancel(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._timer = loop.call_later(delay, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        due = min(self._written + _IDLE_TIMEOUT, self._latest)
        if now < due:
            self._start(loop, due - now)
        else:
            self._timer = None
            self._due()
