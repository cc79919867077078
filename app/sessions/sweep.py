"""The removal of expired records that no process has a connection of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from app.common.background import Background
from app.sessions.manager import Sessions
from app.stores import StoreError

log = logging.getLogger("latchkey.expiry")

_INTERVAL = 10.0  # seconds between two sweeps, so that an idle server leaves its disk alone
_MAX_AT_ONCE = 200  # records that `start_if_due` removes itself
_MIN_BATCH, _MAX_BATCH = 20, 500  # records in one batch of a long sweep
_BATCH_TIME = 0.02  # seconds that a batch should take, since other work waits for it
_PAUSE_FACTOR = 2.0  # the pause after a batch, in times of the batch's duration


class Sweep:
    """Removes expired records from the store from time to time."""

    def __init__(
        self, sessions: Sessions[Any], background: Background, suspended: Callable[[], bool]
    ) -> None:
        """A sweep starts and goes on only while `suspended` returns False."""
        self._sessions = sessions
        self._background = background
        self._suspended = suspended
        #: Seconds since 1970; no record that expired before is left.
        self.done_at = sessions.clock()
        self.task: asyncio.Task[None] | None = None

    async def start_if_due(self, now: float) -> None:
        """Remove what expired before `now`; many records are removed in a task of its own.

        Connected sessions must have been checked at `now`.
        """
        # the clock may also be set back
        due = not 0 <= now - self.done_at < _INTERVAL
        running = self.task is not None and not self.task.done()
        if not due or running or self._suspended():
            return
        await self._sessions.lifetimes.activity.flush(force=True)
        removed = await self._sessions.purge(_MAX_AT_ONCE, now)
        if len(removed) < _MAX_AT_ONCE:
            self.done_at = now
        else:
            self.task = self._background.start(self._run(now))

    async def _run(self, as_of: float) -> None:
        try:
            await self._remove_in_batches(as_of)
        except StoreError as error:
            log.info("sweep of expired sessions interrupted: %s", error)
        except Exception:
            log.exception("sweep of expired sessions failed, the next one runs as scheduled")

    async def _remove_in_batches(self, as_of: float) -> None:
        """Remove records in small batches, with pauses for other work."""
        loop, size = asyncio.get_running_loop(), _MIN_BATCH
        while not self._suspended():
            began = loop.time()
            removed = await self._sessions.purge(size, as_of)
            took = loop.time() - began
            if len(removed) < size:
                self.done_at = as_of
                return
            fitting = int(size * _BATCH_TIME / took) if took else _MAX_BATCH
            size = max(_MIN_BATCH, min(fitting, 2 * size, _MAX_BATCH))
            await asyncio.sleep(took * _PAUSE_FACTOR)
