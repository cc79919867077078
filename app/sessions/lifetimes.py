"""How long sessions live: two limits, and what clients did that the store has yet to hear of."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

import msgspec

from app.sessions.clock import Clock
from app.sessions.session import Reason
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
        new_timeout: float,
        clock: Callable[[], float],
        connected: Callable[[str], bool],
    ) -> None:
        """`idle_timeout`, `max_age` and `new_timeout` are seconds, 0 for none.

        `connected` tells whether a session has a live connection in this process.
        """
        self._store = store
        self._clock = clock
        self._connected = connected
        self._idle_timeout = idle_timeout or math.inf
        self._max_age = max_age or math.inf
        self._new_timeout = new_timeout or math.inf
        # written at most this often, yet always before the old deadline
        shortest = min(self._idle_timeout, self._new_timeout)
        self.coalescing = min(_LONGEST_COALESCING, shortest / 10)
        self._shared = store.shared
        self._hurry: asyncio.Task[None] | None = None
        # id -> seen, and the record as it was known then
        self._touched: dict[str, tuple[float, Record]] = {}
        self._shown: set[str] = set()  # those of them whose cookie has come back
        # the same of what was written while the system's clock was in doubt
        self._in_doubt: dict[str, tuple[float, Record]] = {}
        self._flushed = 0.0

    # -- limits --

    def over(self, record: Record) -> Reason | None:
        """Return which limit this session has reached, or None while it may be used."""
        clock = self._clock
        now = clock()
        # without a look at what was touched since, which only ever makes it later
        if (
            now < record.expires
            and now < record.seen + self._idle_timeout
            and now < record.created + self._max_age
        ):
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
        seen = self.seen(record)
        if self.is_new(record) and self._connected(record.id):
            return self.expiry(record.created, seen)
        return self._expires(record, seen)

    def expiry(self, created: float, seen: float) -> float:
        """When a session made and last seen at these times is over; infinity: never."""
        return min(seen + self._idle_timeout, created + self._max_age)

    # -- new sessions --

    def first_expiry(self, now: float) -> float:
        """When a session that is made now is over unless its cookie comes back."""
        return min(now + self._new_timeout, self.expiry(now, now))

    def is_new(self, record: Record) -> bool:
        """Whether no client has shown this session's cookie, as far as the record tells.

        Such a session is stored with an earlier end than others.
        """
        return record.user is None and record.expires < self.expiry(record.created, record.seen)

    def next_look(self, record: Record) -> float:
        """When a process with a connection of this session has to check it."""
        seen = self.seen(record)
        if not self.is_new(record):
            return self._expires(record, seen)
        early = self._expires(record, seen) - self._new_timeout / 2
        return min(early, self.expiry(record.created, seen))

    def must_extend(self, record: Record) -> bool:
        """Whether this is a new session in the second half of its idle timeout."""
        return self.is_new(record) and self.next_look(record) <= self._clock()

    async def extend(self, records: Sequence[Record]) -> list[Record]:
        """Keep new sessions that have a live connection; return their records as they are then.

        A client that keeps no cookies cannot show one. Its session lives as others do while its
        connection lives, and `new_timeout` longer.
        """
        now, extended = self._clock(), []
        for record in records:
            full = self.expiry(record.created, self.seen(record))
            expires = min(now + self._new_timeout, full)
            extended.append(msgspec.structs.replace(record, expires=expires))
        await self._store.touch({record.id: (record.seen, record.expires) for record in extended})
        return extended

    def _expires(self, record: Record, seen: float) -> float:
        """When a session is over that was seen then."""
        full = self.expiry(record.created, seen)
        if record.user is not None or record.id in self._shown or not self.is_new(record):
            # stored with an earlier end: under a shorter --session-idle-timeout
            return full if seen > record.seen else min(record.expires, full)
        return min(max(record.expires, seen + self._new_timeout), full)

    # -- touches --

    def seen(self, record: Record) -> float:
        """When the client last did something, counting what the store has not heard yet."""
        touched = self._touched.get(record.id)
        return record.seen if touched is None else max(record.seen, touched[0])

    def touch(self, record: Record, *, shown: bool = False) -> bool:
        """Note that the client did something; False where its session is over by now.

        `shown`: it sent the session's cookie. The store hears of it within `coalescing` seconds.
        """
        clock = self._clock
        now = clock()
        if now >= record.expires and self.over(record) is not None:
            return False
        self._touched[record.id] = (now, record)
        if shown and self.is_new(record):
            self._shown.add(record.id)
            self._write_soon()
        elif (
            # in the last fifth of its time: before another process, which cannot know, ends it
            self._shared
            and 5 * (record.expires - now) < record.expires - record.seen
            and record.expires < self._expires(record, now)
        ):
            self._write_soon()
        return True

    def _write_soon(self) -> None:
        if self._shared and self._hurry is None:
            self._hurry = asyncio.create_task(self._flush_now())

    def forget(self, session_id: str) -> None:
        """Write nothing more of a session that has ended."""
        self._forget_touch(session_id)
        self._in_doubt.pop(session_id, None)

    def _forget_touch(self, session_id: str) -> None:
        self._touched.pop(session_id, None)
        self._shown.discard(session_id)

    def follow_step(self, step: float) -> None:
        """Convert the activity noted while the clock was in doubt to the clock's new time.

        After a step forward they would otherwise be signed out as idle, although they are active.
        """
        moved = {**self._in_doubt, **self._touched}
        self._touched = {id: (seen + step, record) for id, (seen, record) in moved.items()}
        self._in_doubt.clear()
        self._flushed = -math.inf  # written with the next round

    async def flush(self, *, now: bool = False) -> None:
        """Write the touches that have gathered, when that is due or `now` is set."""
        if not self._touched or (not now and 0 <= self._clock() - self._flushed < self.coalescing):
            return
        self._flushed = self._clock()
        await self._write(list(self._touched))

    async def flush_user(self, user: str) -> None:
        """Write the pending touches of one user's sessions."""
        await self._write([id for id, (_, record) in self._touched.items() if record.user == user])

    async def _write(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            # without those that ended while the batch before was written
            batch = {
                id: self._touched[id] for id in ids[start : start + _BATCH] if id in self._touched
            }
            if not batch:
                continue
            await self._store.touch(
                {id: (seen, self._expires(record, seen)) for id, (seen, record) in batch.items()}
            )
            for id, touched in batch.items():
                # one that was touched meanwhile may know an older record: it is still `_shown`
                if self._touched.get(id) is touched:
                    self._forget_touch(id)
            if isinstance(self._clock, Clock) and self._clock.in_doubt:
                self._in_doubt.update(batch)
            else:
                self._in_doubt.clear()

    async def close(self) -> None:
        """Write all touches; raises StoreError."""
        if self._hurry is not None:
            await asyncio.wait({self._hurry})
        await self.flush(now=True)

    async def _flush_now(self) -> None:
        try:
            await self.flush(now=True)
        except StoreError:
            log.debug("the store is away; what was touched is kept until it answers")
        finally:
            self._hurry = None
