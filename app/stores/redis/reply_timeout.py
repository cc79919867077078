"""Detect a Redis that accepts commands and does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.stores.redis.connection import Connection

REPLY_TIMEOUT = 1.0  # seconds
_CHECK_INTERVAL = 0.2  # seconds
_RECHECK_INTERVAL = 0.05  # seconds


class ReplyTimeout:
    """Watches one connection, and calls `on_timeout` once if replies do not come in time."""

    def __init__(self, connection: Connection, on_timeout: Callable[[], None]) -> None:
        self._connection = connection
        self._on_timeout = on_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._suspected = False

    def start(self) -> None:
        """Check from now on, until `stop`."""
        self._check()

    def stop(self) -> None:
        """Check no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        late = self._connection.longest_wait() >= REPLY_TIMEOUT - _CHECK_INTERVAL
        if late and self._suspected:
            self._on_timeout()
            return
        # this process may have been suspended; its loop then reads the replies before the recheck
        self._suspected = late
        interval = _RECHECK_INTERVAL if late else _CHECK_INTERVAL
        self._timer = asyncio.get_running_loop().call_later(interval, self._check)
