"""Sessions in the memory of this process, for tests and benchmarks; lost when it ends."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence

import msgspec

from app.stores.errors import LeaseLost, RecordGone
from app.stores.locks import Locks
from app.stores.protocol import MAX_LISTED
from app.stores.record import Record, public_id


class MemoryStore:
    """A SessionStore that keeps its records in memory."""

    shared = False

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._of_user: dict[str, dict[str, str]] = {}  # user id -> public id -> id
        # of the records that expire: a time at or before that, and the id
        self._heap: list[tuple[float, str]] = []
        self._locks = Locks()

    def cached(self, session_id: str) -> Record | None:
        return self._records.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        return self._records.get(session_id)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        records = self._records
        return {id: records[id] for id in session_ids if id in records}

    async def save(self, record: Record) -> None:
        self._put(record)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        for session_id, (last, expires) in seen.items():
            record = self._records.get(session_id)
            if record is not None and record.seen <= last:
                self._records[session_id] = msgspec.structs.replace(
                    record, seen=last, expires=max(expires, record.expires)
                )

    async def destroy(self, session_id: str) -> Record | None:
        return self._remove(session_id)

    async def replaced_by(self, session_id: str) -> bytes | None:
        return None

    def try_lock(self, session_id: str) -> MemoryLease | None:
        if not self._locks.try_acquire(session_id):
            return None
        return MemoryLease(self, session_id, self._records.get(session_id))

    async def lock(self, session_id: str) -> MemoryLease:
        await self._locks.acquire(session_id)
        return MemoryLease(self, session_id, self._records.get(session_id))

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return heapq.nlargest(limit, self._all_of(user_id), key=lambda record: record.seen)

    async def count(self, user_id: str) -> int:
        return len(self._of_user.get(user_id, ()))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        session_id = self._of_user.get(user_id, {}).get(public_id)
        return None if session_id is None else self._records[session_id]

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        excess = min(await self.count(user_id) - maximum, limit)
        others = [record for record in self._all_of(user_id) if record.id != keep]
        removed = heapq.nsmallest(excess, others, key=lambda record: record.seen)
        for record in removed:
            self._remove(record.id)
        return removed

    def _all_of(self, user_id: str) -> list[Record]:
        return [self._records[id] for id in self._of_user.get(user_id, {}).values()]

    async def purge(self, now: float, limit: int) -> list[Record]:
        removed: list[Record] = []
        while self._heap and self._heap[0][0] <= now and len(removed) < limit:
            record = self._records.get(heapq.heappop(self._heap)[1])
            if record is None:
                continue
            if record.expires <= now:
                self._remove(record.id)
                removed.append(record)
            else:  # it was touched
                self._push(record)
        return removed

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        return [*self._records.values()], ""

    async def stored(self) -> int:
        return len(self._records)

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        self._records.clear()
        self._of_user.clear()
        self._heap.clear()

    def _put(self, record: Record) -> None:
        self._records[record.id] = record
        self._push(record)
        if record.user_id is not None:
            self._of_user.setdefault(record.user_id, {})[public_id(record.id)] = record.id

    def _push(self, record: Record) -> None:
        if record.expires < math.inf:
            heapq.heappush(self._heap, (record.expires, record.id))

    def _remove(self, session_id: str) -> Record | None:
        record = self._records.pop(session_id, None)
        if record is not None and record.user_id is not None:
            ids = self._of_user[record.user_id]
            ids.pop(public_id(session_id), None)
            if not ids:
                del self._of_user[record.user_id]
        return record


class MemoryLease(msgspec.Struct, eq=False):  # faster to create than other objects
    """The lock of one session in a MemoryStore."""

    _store: MemoryStore
    _id: str
    record: Record | None

    __repr__ = object.__repr__  # a log must not show the id

    async def save(self, data: bytes) -> Record:
        store, id, record = self._store, self._id, self.record
        try:
            if record is None or store._records.get(id) is not record:
                record = self._current()  # it was touched meanwhile, or is gone
            saved = store._records[id] = record.with_data(data)
            return saved
        finally:
            store._locks.release(id)

    async def replace(self, record: Record, note: bytes = b"") -> None:
        try:
            self._current()
            self._store._remove(self._id)
            self._store._put(record)
        finally:
            self._store._locks.release(self._id)

    async def release(self) -> None:
        self._store._locks.release(self._id)

    def _current(self) -> Record:
        """Return the record as it is stored; raises RecordGone or LeaseLost."""
        current = self._store._records.get(self._id)
        if current is None:
            raise RecordGone(self._id)
        if self.record is None or current.version != self.record.version:
            raise LeaseLost(self._id)
        return current
