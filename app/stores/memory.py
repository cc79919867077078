"""Sessions in a dict of this process, for tests and benches: gone when the process is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.stores.base import LeaseLost, Record, RecordGone
from app.stores.locks import Locks


class MemoryStore:
    """A SessionStore that keeps its records in memory."""

    shared = False

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._of_user: dict[str, set[str]] = {}
        self._locks = Locks()

    def known(self, session_id: str) -> Record | None:
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
            if record is not None:
                self._records[session_id] = msgspec.structs.replace(
                    record, seen=last, expires=expires
                )

    async def destroy(self, session_id: str) -> Record | None:
        return self._remove(session_id)

    def take(self, session_id: str) -> MemoryLease | None:
        if not self._locks.take(session_id):
            return None
        return MemoryLease(self, session_id, self._records.get(session_id))

    async def lock(self, session_id: str) -> MemoryLease:
        await self._locks.acquire(session_id)
        return MemoryLease(self, session_id, self._records.get(session_id))

    async def of_user(self, user: str) -> list[Record]:
        return [self._records[id] for id in self._of_user.get(user, ())]

    async def purge(self, now: float, limit: int) -> list[Record]:
        over = [record for record in self._records.values() if record.expires <= now][:limit]
        for record in over:
            self._remove(record.id)
        return over

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        self._records.clear()
        self._of_user.clear()

    def _put(self, record: Record) -> None:
        self._records[record.id] = record
        if record.user is not None:
            self._of_user.setdefault(record.user, set()).add(record.id)

    def _remove(self, session_id: str) -> Record | None:
        record = self._records.pop(session_id, None)
        if record is not None and record.user is not None:
            ids = self._of_user[record.user]
            ids.discard(session_id)
            if not ids:
                del self._of_user[record.user]
        return record


class MemoryLease(msgspec.Struct, eq=False):  # made faster than other objects
    """The lock of one session in a MemoryStore."""

    _store: MemoryStore
    _id: str
    record: Record | None

    async def save(self, data: bytes) -> Record:
        try:
            current = self._store._records.get(self._id)
            if current is None:
                raise RecordGone(self._id)
            if self.record is None or current.version != self.record.version:
                raise LeaseLost(self._id)
            record = current.with_data(data)
            self._store._records[self._id] = record
            return record
        finally:
            self._store._locks.release(self._id)

    async def release(self) -> None:
        self._store._locks.release(self._id)
