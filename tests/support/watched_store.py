"""A memory store that tests watch, slow down and cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from app.stores import Lease, Record, StoreUnavailable
from app.stores.memory import MemoryStore


class WatchedStore(MemoryStore):
    """A memory store that takes its time to save, and that can be cut off."""

    def __init__(self, *, save_takes: float = 0.0) -> None:
        """`save_takes` is in seconds; `made` are the ids of all records that ever were stored."""
        super().__init__()
        self.save_takes = save_takes
        self.down = False
        self.asked = 0
        self.made: set[str] = set()

    @property
    def ids(self) -> set[str]:
        """The ids of all records that are stored now."""
        return set(self._records)

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    def lose(self, session_id: str) -> None:
        """Remove a record without the application, as an operator with a shell might."""
        self._remove(session_id)

    async def _reach(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("the store was cut off by a test")

    def cached(self, session_id: str) -> Record | None:
        return None

    async def load(self, session_id: str) -> Record | None:
        await self._reach()
        return await super().load(session_id)

    async def load_many(self, session_ids: Any) -> dict[str, Record]:
        await self._reach()
        return await super().load_many(session_ids)

    async def save(self, record: Record) -> None:
        await self._reach()
        await asyncio.sleep(self.save_takes)
        await super().save(record)
        self.made.add(record.id)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self._reach()
        await super().touch(seen)

    async def destroy(self, session_id: str) -> Record | None:
        await self._reach()
        return await super().destroy(session_id)

    def try_lock(self, session_id: str) -> None:
        return None

    async def lock(self, session_id: str) -> Lease:  # type: ignore[override]
        await self._reach()
        return await super().lock(session_id)

    async def purge(self, now: float, limit: int) -> list[Record]:
        await self._reach()
        return await super().purge(now, limit)

    async def ping(self) -> None:
        await self._reach()
