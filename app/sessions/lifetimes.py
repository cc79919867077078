"""How long sessions live: until a time without activity, and at most until an age."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from app.sessions.activity import Activity
from app.sessions.clock import Clock
from app.sessions.end_reason import EndReason
from app.sessions.timeouts import Timeouts
from app.stores import Record, SessionStore


class Lifetimes:
    """When each session ends, by its record and by the latest activity of its clients."""

    def __init__(
        self,
        store: SessionStore,
        timeouts: Timeouts,
        *,
        clock: Clock,
        connected: Callable[[str], bool],
    ) -> None:
        """`connected` tells whether a session has a live connection in this process."""
        self._store = store
        # The method itself: to call the object, as each event does twice, takes 0.1 µs more. Python
        # 3.11 calls a local name faster than an attribute that is no method of the class.
        self.clock = clock.__call__
        self._connected = connected
        self.timeouts = timeouts
        self.activity = Activity(store, timeouts, clock)

    def seen(self, record: Record) -> float:
        """Return when a client of this session was last active."""
        return self.activity.seen(record)

    def limit_reached(self, record: Record) -> EndReason | None:
        """Return which limit has ended this session, or None while it lives."""
        clock, timeouts = self.clock, self.timeouts
        now = clock()
        # activity that the record lacks only moves the end to a later time
        if (
            now < record.expires
            and now < record.seen + timeouts.idle
            and now < timeouts.latest(record)
        ):
            return None
        return self.next_limit(record) if now >= self.deadline(record) else None

    def living(self, records: Iterable[Record]) -> list[Record]:
        """Return the records of the sessions that have not ended, the last seen first.

        Records come from a store in the order of the activity that was written.
        """
        living = [record for record in records if self.limit_reached(record) is None]
        return sorted(living, key=self.seen, reverse=True)

    def next_limit(self, record: Record) -> EndReason:
        """Return which limit has ended, or will end, this session."""
        latest = self.timeouts.latest(record)
        return "expired" if self.deadline(record) >= latest else "idle"

    def time_left(self, record: Record) -> float:
        """Return the seconds until this session ends however active it is; infinity: never."""
        return self.timeouts.latest(record) - self.clock()

    def deadline(self, record: Record) -> float:
        """Return when this session ends unless a client is active; infinity: never."""
        seen = self.seen(record)
        if self.timeouts.is_new(record) and self._connected(record.id):
            return self.timeouts.expires(record.created, seen)
        return self.activity.expires(record, seen)

    def touch(self, record: Record, *, cookie_returned: bool = False) -> bool:
        """Note that a client is active; return False if its session has ended by now.

        `cookie_returned`: the client sent the session's cookie.
        """
        clock = self.clock
        now = clock()
        if now >= record.expires and self.limit_reached(record) is not None:
            return False
        self.activity.note(record, now, cookie_returned)
        return True

    # -- new sessions with a connection --

    def next_check(self, record: Record) -> float:
        """Return when a process with a connection of this session has to check it."""
        expires = self.activity.expires(record, self.seen(record))
        return expires - self.timeouts.new / 2 if self.timeouts.is_new(record) else expires

    def must_extend(self, record: Record) -> bool:
        """Whether this is a new session in the second half of its timeout."""
        return self.timeouts.is_new(record) and self.next_check(record) <= self.clock()

    async def extend(self, records: Sequence[Record]) -> list[Record]:
        """Move the end of new sessions that have a live connection; return the changed records.

        A client that keeps no cookies cannot send one back. While it is connected, its session
        has the lifetime of others. After that it lives for the timeout of new sessions.
        """
        now, extended = self.clock(), []
        for record in records:
            full = self.timeouts.expires(record.created, self.seen(record))
            expires = min(now + self.timeouts.new, full)
            extended.append(msgspec.structs.replace(record, expires=expires))
        await self._store.touch({record.id: (record.seen, record.expires) for record in extended})
        return extended
