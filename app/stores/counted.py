"""Counts and durations of the calls of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

from app.common.histogram import Histogram
from app.stores.errors import StoreError
from app.stores.protocol import MAX_LISTED, SessionStore
from app.stores.record import Record

T = TypeVar("T")

#: Calls that `CountedStore` counts.
_OTHERS = (
    *("create", "touch", "destroy", "replaced_by", "load_many"),
    *("of_user", "count", "find", "trim", "purge", "scan", "stored", "ping"),
)
#: All calls of a store, as metrics name them.
CALLS = ("load", "lock", "save", *_OTHERS)


class StoreCounts:
    """Calls of a store: how many, how long, how many failed.

    Loads, locks and saves under a lock are counted where they are called, in app.sessions: a
    wrapper around each would cost an event more than a microsecond.
    """

    def __init__(self) -> None:
        self.loads = 0  # not timed, since every event has one
        self.locks = Histogram()  # the wait included
        self.saves = Histogram()
        self.others = {call: Histogram() for call in _OTHERS}
        self.errors = Counter(dict.fromkeys(CALLS, 0))


class CountedStore:
    """A SessionStore over another one that counts the calls which are not part of an event."""

    def __init__(self, store: SessionStore, counts: StoreCounts) -> None:
        self._store = store
        self._counts = counts
        self.shared = store.shared
        # the store's own methods: passing these calls on would cost an event 0.2 µs
        self.cached = store.cached
        self.load = store.load
        self.try_lock = store.try_lock
        self.lock = store.lock

    async def _count(self, call: str, work: Awaitable[T]) -> T:
        began = perf_counter()
        try:
            return await work
        except StoreError:
            self._counts.errors[call] += 1
            raise
        finally:
            self._counts.others[call].observe(perf_counter() - began)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        return await self._count("load_many", self._store.load_many(session_ids))

    async def save(self, record: Record) -> None:
        await self._count("create", self._store.save(record))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self._count("touch", self._store.touch(seen))

    async def destroy(self, session_id: str) -> Record | None:
        return await self._count("destroy", self._store.destroy(session_id))

    async def replaced_by(self, session_id: str) -> bytes | None:
        return await self._count("replaced_by", self._store.replaced_by(session_id))

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return await self._count("of_user", self._store.of_user(user_id, limit))

    async def count(self, user_id: str) -> int:
        return await self._count("count", self._store.count(user_id))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        return await self._count("find", self._store.find(user_id, public_id))

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        return await self._count("trim", self._store.trim(user_id, maximum, keep, limit))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return await self._count("purge", self._store.purge(now, limit))

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        return await self._count("scan", self._store.scan(cursor, limit))

    async def stored(self) -> int:
        return await self._count("stored", self._store.stored())

    async def ping(self) -> None:
        await self._count("ping", self._store.ping())

    async def close(self) -> None:
        await self._store.close()
