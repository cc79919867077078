"""A store that notes its calls; subclasses make it fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.stores import MAX_LISTED, Lease, Record, SessionStore
from tests.support.leases import LeaseOver


class CountingStore:
    """A SessionStore over another one; subclasses put their failure into `before`."""

    def __init__(self, inner: SessionStore) -> None:
        self.inner = inner
        self.shared = inner.shared
        self.calls: list[str] = []

    async def before(self, call: str) -> None:
        """Run before each call."""

    async def note(self, call: str) -> None:
        self.calls.append(call)
        await self.before(call)

    def cached(self, session_id: str) -> Record | None:
        return None

    async def load(self, session_id: str) -> Record | None:
        await self.note("load")
        return await self.inner.load(session_id)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        await self.note("load_many")
        return await self.inner.load_many(session_ids)

    async def save(self, record: Record) -> None:
        await self.note("save")
        await self.inner.save(record)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self.note("touch")
        await self.inner.touch(seen)

    async def destroy(self, session_id: str) -> Record | None:
        await self.note("destroy")
        return await self.inner.destroy(session_id)

    async def replaced_by(self, session_id: str) -> bytes | None:
        await self.note("replaced_by")
        return await self.inner.replaced_by(session_id)

    def try_lock(self, session_id: str) -> None:
        return None

    async def lock(self, session_id: str) -> CountingLease:
        await self.note("lock")
        return CountingLease(self, await self.inner.lock(session_id))

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        await self.note("of_user")
        return await self.inner.of_user(user_id, limit)

    async def count(self, user_id: str) -> int:
        await self.note("count")
        return await self.inner.count(user_id)

    async def find(self, user_id: str, public_id: str) -> Record | None:
        await self.note("find")
        return await self.inner.find(user_id, public_id)

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        await self.note("trim")
        return await self.inner.trim(user_id, maximum, keep, limit)

    async def purge(self, now: float, limit: int) -> list[Record]:
        await self.note("purge")
        return await self.inner.purge(now, limit)

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        await self.note("scan")
        return await self.inner.scan(cursor, limit)

    async def stored(self) -> int:
        await self.note("stored")
        return await self.inner.stored()

    async def ping(self) -> None:
        await self.note("ping")
        await self.inner.ping()

    async def close(self) -> None:
        await self.inner.close()


class CountingLease(LeaseOver):
    """A lease that is released even if the store fails."""

    def __init__(self, store: CountingStore, inner: Lease) -> None:
        super().__init__(inner)
        self.store = store

    async def save(self, data: bytes) -> Record:
        try:
            await self.store.note("lease.save")
        except BaseException:
            await self.inner.release()
            raise
        return await self.inner.save(data)

    async def replace(self, record: Record, note: bytes = b"") -> None:
        try:
            await self.store.note("lease.replace")
        except BaseException:
            await self.inner.release()
            raise
        await self.inner.replace(record, note)

    async def release(self) -> None:
        await self.store.note("release")
        await self.inner.release()
