"""A lease that wraps another one, for test stores that wrap a store."""

from __future__ import annotations

from app.stores import Lease, Record


class LeaseOver:
    """A Lease that calls another one; subclasses add to its calls."""

    def __init__(self, inner: Lease) -> None:
        self.inner = inner

    @property
    def record(self) -> Record | None:
        return self.inner.record

    async def save(self, data: bytes) -> Record:
        return await self.inner.save(data)

    async def replace(self, record: Record, note: bytes = b"") -> None:
        await self.inner.replace(record, note)

    async def release(self) -> None:
        await self.inner.release()
