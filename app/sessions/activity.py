"""The activity of clients, written to the store in batches."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

from app.sessions.clock import Clock
from app.sessions.timeouts import Timeouts
from app.stores import Record, SessionStore, StoreError

log = logging.getLogger("latchkey.sessions")

_MAX_FLUSH_INTERVAL = 60.0  # seconds
_BATCH_SIZE = 500


class Activity:
    """When each session was last seen. It counts at once, and is written a little later."""

    def __init__(self, store: SessionStore, timeouts: Timeouts, clock: Clock) -> None:
        self._store = store
        self._timeouts = timeouts
        self._clock = clock
        #: Seconds between two writes. A write has to come before the stored end of the session.
        self.flush_interval = min(_MAX_FLUSH_INTERVAL, timeouts.idle / 10, timeouts.new / 10)
        self._shared = store.shared
        # by session id: when it was seen, and its record as it was then
        self._unwritten: dict[str, tuple[float, Record]] = {}
        self._cookie_returned: set[str] = set()  # ids of the unwritten whose cookie came back
        # what was written while the system's clock was in doubt
        self._in_doubt: dict[str, tuple[float, Record]] = {}
        self._flushed = 0.0  # seconds since 1970
        self._early_flush: asyncio.Task[None] | None = None

    def seen(self, record: Record) -> float:
        """Return when a client of this session was last active."""
        unwritten = self._unwritten.get(record.id)
        return record.seen if unwritten is None else max(record.seen, unwritten[0])

    def expires(self, record: Record, seen: float) -> float:
        """Return when this session ends if it was last seen then."""
        returned = record.id in self._cookie_returned
        return self._timeouts.expires_if_seen(record, seen, cookie_returned=returned)

    def note(self, record: Record, now: float, cookie_returned: bool) -> None:
        """Note that a client of this session is active now; it may have sent its cookie.

        Other processes cannot know of it before it is written. Where one of them might end the
        session meanwhile, it is written at once.
        """
        self._unwritten[record.id] = now, record
        if cookie_returned and self._timeouts.is_new(record):
            self._cookie_returned.add(record.id)
            self._flush_early()
        elif (
            self._shared
            # in the last fifth of its time
            and 5 * (record.expires - now) < record.expires - record.seen
            and record.expires < self.expires(record, now)
        ):
            self._flush_early()

    def forget(self, session_id: str) -> None:
        """Write nothing more for a session that has ended."""
        self._drop_unwritten(session_id)
        self._in_doubt.pop(session_id, None)

    def follow_step(self, step: float) -> None:
        """Convert what was noted while the clock was in doubt to the clock's new time.

        After a step forward active users would otherwise be signed out as idle.
        """
        moved = {**self._in_doubt, **self._unwritten}
        self._unwritten = {id: (seen + step, record) for id, (seen, record) in moved.items()}
        self._in_doubt.clear()
        self._flushed = -math.inf  # the next round writes it

    async def flush(self, *, force: bool = False) -> None:
        """Write what was noted, if the interval has passed or `force` is set."""
        since = self._clock() - self._flushed
        if not self._unwritten or (not force and 0 <= since < self.flush_interval):
            return
        self._flushed = self._clock()
        await self._write(list(self._unwritten))

    async def flush_user(self, user_id: str) -> None:
        """Write what was noted of the sessions of one user."""
        await self._write(
            [id for id, (_, record) in self._unwritten.items() if record.user_id == user_id]
        )

    async def close(self) -> None:
        """Write everything; raises StoreError."""
        if self._early_flush is not None:
            await asyncio.wait({self._early_flush})
        await self.flush(force=True)

    async def _write(self, session_ids: Sequence[str]) -> None:
        for start in range(0, len(session_ids), _BATCH_SIZE):
            batch = {
                id: self._unwritten[id]
                for id in session_ids[start : start + _BATCH_SIZE]
                if id in self._unwritten  # others ended while the batch before was written
            }
            if not batch:
                continue
            await self._store.touch(
                {id: (seen, self.expires(record, seen)) for id, (seen, record) in batch.items()}
            )
            for id, written in batch.items():
                # a client that was active meanwhile keeps its entry, and its returned cookie
                if self._unwritten.get(id) is written:
                    self._drop_unwritten(id)
            if self._clock.in_doubt:
                self._in_doubt.update(batch)
            else:
                self._in_doubt.clear()

    def _drop_unwritten(self, session_id: str) -> None:
        self._unwritten.pop(session_id, None)
        self._cookie_returned.discard(session_id)

    def _flush_early(self) -> None:
        if self._shared and self._early_flush is None:
            self._early_flush = asyncio.create_task(self._flush_now())

    async def _flush_now(self) -> None:
        try:
            await self.flush(force=True)
        except StoreError:
            log.debug("session store unavailable, activity is kept until it answers")
        finally:
            self._early_flush = None
