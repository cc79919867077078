"""How long sessions live: two limits, and what clients did that the store has yet to hear of."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from app.session import Reason
from app.stores import Record, SessionStore, StoreError

log = logging.getLogger("latchkey.sessions")

_LONGEST_COALESCING = 60.0  # seconds
_BATCH = 500


class Lifetimes:
    """When sessions are over: after a time without activity, and at an age.

    Activity is written to the store in batches and a little later; it counts at once.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        idle_timeout: float,
        max_age: float,
        clock: Callable[[], float],
    ) -> None:
        """`idle_timeout` and `max_age` are seconds, 0 for none."""
        self._store = store
        self._clock = clock
        self._idle_timeout = idle_timeout or math.inf
        self._max_age = max_age or math.inf
        # written at most this often, yet always before the old deadline
        self.coalescing = min(_LONGEST_COALESCING, idle_timeout / 10 or _LONGEST_COALESCING)
        # seconds before its end in which a session's touch is written at once
        self._urgent = self._idle_timeout / 5 if store.shared else -math.inf
        self._hurry: asyncio.Task[None] | None = None
        self._touched: dict[str, tuple[float, float]] = {}  # id -> seen, created
        self._flushed = 0.0

    # -- limits --

    def over(self, record: Record) -> Reason | None:
        """Return which limit this session has reached, or None while it may be used."""
        clock = self._clock
        now = clock()
        # without a look at what was touched since, which only ever makes it later
        if now < record.seen + self._idle_timeout and now < record.created + self._max_age:
            return None
        return self.reason(record) if now >= self.deadline(record) else None

    def reason(self, record: Record) -> Reason:
        """Tell which limit has ended, or will end, this session."""
        return "expired" if self.deadline(record) >= record.created + self._max_age else "idle"

    def time_left(self, record: Record) -> float:
        """Seconds until this session ends however active it is; infinity: never."""
        return record.created + self._max_age - self._clock()

    def deadline(self, record: Record) -> float:
        """When this session is over unless it is touched; infinity: never."""
        return self.expiry(record.created, self.seen(record))

    def expiry(self, created: float, seen: float) -> float:
        """When a session made and last seen at these times is over; infinity: never."""
        return min(seen + self._idle_timeout, created + self._max_age)

    # -- touches --

    def seen(self, record: Record) -> float:
        """When the client last did something, counting what the store has not heard yet."""
        return max(record.seen, self._touched.get(record.id, (0.0, 0.0))[0])

    def touch(self, record: Record) -> bool:
        """Note that the client did something; False where its session is over by now.

        The store hears of it within `coalescing` seconds.
        """
        clock = self._clock
        now = clock()
        if now >= record.expires and self.over(record) is not None:
            return False
        self._touched[record.id] = (now, record.created)
        if record.expires < now + self._urgent and (
            record.expires < self.expiry(record.created, now)
        ):
            # before another process, which cannot know of this, ends the session
            self._hurry = self._hurry or asyncio.create_task(self._flush_now())
        return True

    def forget(self, session_id: str) -> None:
        """Write nothing more of a session that has ended."""
        self._touched.pop(session_id, None)

    async def flush(self, *, now: bool = False) -> None:
        """Write the touches that have gathered, when that is due or `now` is set."""
        if not self._touched or (not now and 0 <= self._clock() - self._flushed < self.coalescing):
            return
        self._flushed = self._clock()
        ids = list(self._touched)
        for start in range(0, len(ids), _BATCH):
            # without those that ended while the batch before was written
            batch = {
                id: self._touched[id] for id in ids[start : start + _BATCH] if id in self._touched
            }
            await self._store.touch(
                {id: (seen, self.expiry(created, seen)) for id, (seen, created) in batch.items()}
            )
            for id, touched in batch.items():
                if self._touched.get(id) == touched:
                    del self._touched[id]

    async def _flush_now(self) -> None:
        try:
            await self.flush(now=True)
        except StoreError:
            log.debug("the store is away; what was touched is kept until it answers")
        finally:
            self._hurry = None
