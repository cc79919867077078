"""What metrics tell of store and database, asked just before they are shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.common.background import Background
from app.ops.readiness import Readiness
from app.stores import StoreError

_TIMEOUT = 1.0  # seconds for which a scrape waits
_COUNT_INTERVAL = 60.0  # seconds between two counts of the stored sessions


class Survey:
    """Asks whether store and database work, and how many sessions are stored.

    An idle process calls neither of them, so a scrape does. The next scrape shows an answer that
    takes longer than a second.
    """

    def __init__(self, readiness: Readiness, stored: Callable[[], Awaitable[int]]) -> None:
        """`stored` returns the number of stored sessions; it may raise StoreError."""
        self._readiness = readiness
        self._stored = stored
        self._counted_at = -_COUNT_INTERVAL
        self._counting: asyncio.Task[Any] | None = None
        self._asking = Background()
        #: Stored sessions; None until they were counted.
        self.sessions: int | None = None

    @property
    def passed(self) -> Mapping[str, bool]:
        """Whether each check of readiness passed when it was last made."""
        return self._readiness.passed

    async def make(self) -> None:
        """Ask, and wait for the answers for a second at most."""
        asked = {self._asking.start(self._readiness.failed())}
        if self._counting is not None and not self._counting.done():
            asked.add(self._counting)
        elif time.monotonic() - self._counted_at >= _COUNT_INTERVAL:
            self._counting = self._asking.start(self._count())
            asked.add(self._counting)
        await asyncio.wait(asked, timeout=_TIMEOUT)

    async def stop(self) -> None:
        """Ask no more."""
        await self._asking.stop()

    async def _count(self) -> None:
        try:
            self.sessions = await self._stored()
            self._counted_at = time.monotonic()
        except StoreError:
            self.sessions = None  # readiness logs why
