"""A store that passes its calls on to another one, with something around each."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from app.stores.protocol import MAX_LISTED, SessionStore
from app.stores.record import Record

T = TypeVar("T")


class StoreWrapper:
    """The calls of a SessionStore but for `load` and the locks, each within `around`."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.shared = store.shared
        self.cached = store.cached  # its own method: an event calls it

    async def around(self, call: str, work: Awaitable[T]) -> T:
        """Await a call of the store, which metrics and traces name so, and return its result."""
        raise NotImplementedError

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        return await self.around("load_many", self._store.load_many(session_ids))

    async def save(self, record: Record) -> None:
        await self.around("create", self._store.save(record))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self.around("touch", self._store.touch(seen))

    async def destroy(self, session_id: str) -> Record | None:
        return await self.around("destroy", self._store.destroy(session_id))

    async def replaced_by(self, session_id: str) -> bytes | None:
        return await self.around("replaced_by", self._store.replaced_by(session_id))

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return await self.around("of_user", self._store.of_user(user_id, limit))

    async def count(self, user_id: str) -> int:
        return await self.around("count", self._store.count(user_id))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        return await self.around("find", self._store.find(user_id, public_id))

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        return await self.around("trim", self._store.trim(user_id, maximum, keep, limit))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return await self.around("purge", self._store.purge(now, limit))

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        return await self.around("scan", self._store.scan(cursor, limit))

    async def stored(self) -> int:
        return await self.around("stored", self._store.stored())

    async def ping(self) -> None:
        await self.around("ping", self._store.ping())

    async def close(self) -> None:
        await self._store.close()
