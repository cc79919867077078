"""A store that lets every other task run before and after each of its calls.

Code that is safe only because the memory store never suspends fails with this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from app.stores import MAX_LISTED, Record, SessionStore
from tests.support.leases import LeaseOver

T = TypeVar("T")


async def _around(call: Callable[[], Awaitable[T]]) -> T:
    """Suspend, make the call, suspend again."""
    await asyncio.sleep(0)
    result = await call()
    await asyncio.sleep(0)
    return result


class SuspendingStore:
    """A SessionStore over another one; it suspends around every call."""

    def __init__(self, inner: SessionStore) -> None:
        self.inner = inner
        self.shared = inner.shared

    def cached(self, session_id: str) -> Record | None:
        return None

    async def load(self, session_id: str) -> Record | None:
        return await _around(lambda: self.inner.load(session_id))

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        return await _around(lambda: self.inner.load_many(session_ids))

    async def save(self, record: Record) -> None:
        await _around(lambda: self.inner.save(record))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await _around(lambda: self.inner.touch(seen))

    async def destroy(self, session_id: str) -> Record | None:
        return await _around(lambda: self.inner.destroy(session_id))

    async def replaced_by(self, session_id: str) -> bytes | None:
        return await _around(lambda: self.inner.replaced_by(session_id))

    def try_lock(self, session_id: str) -> None:
        return None

    async def lock(self, session_id: str) -> SuspendingLease:
        await asyncio.sleep(0)
        lease = await self.inner.lock(session_id)
        try:
            await asyncio.sleep(0)
        except BaseException:
            # cancelled while it holds the lock, and the caller has no lease to release
            await lease.release()
            raise
        return SuspendingLease(lease)

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return await _around(lambda: self.inner.of_user(user_id, limit))

    async def count(self, user_id: str) -> int:
        return await _around(lambda: self.inner.count(user_id))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        return await _around(lambda: self.inner.find(user_id, public_id))

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        return await _around(lambda: self.inner.trim(user_id, maximum, keep, limit))

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        return await _around(lambda: self.inner.scan(cursor, limit))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return await _around(lambda: self.inner.purge(now, limit))

    async def stored(self) -> int:
        return await _around(self.inner.stored)

    async def ping(self) -> None:
        await _around(self.inner.ping)

    async def close(self) -> None:
        await _around(self.inner.close)


class SuspendingLease(LeaseOver):
    """A lease that suspends before and after each call; a cancelled call releases the lock."""

    async def save(self, data: bytes) -> Record:
        try:
            await asyncio.sleep(0)
        except BaseException:
            await self.inner.release()
            raise
        record = await self.inner.save(data)
        await asyncio.sleep(0)
        return record

    async def replace(self, record: Record, note: bytes = b"") -> None:
        try:
            await asyncio.sleep(0)
        except BaseException:
            await self.inner.release()
            raise
        await self.inner.replace(record, note)
        await asyncio.sleep(0)

    async def release(self) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            await self.inner.release()
        await asyncio.sleep(0)
