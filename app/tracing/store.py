"""A session store whose calls are spans of the page or event that makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from app.common import log_context
from app.stores import MAX_LISTED, Lease, Record, SessionStore
from app.tracing.spans import ChildSpans

T = TypeVar("T")


class TracedStore:
    """A SessionStore over another one; spans follow the semantic conventions of databases."""

    def __init__(self, store: SessionStore, spans: ChildSpans, *, kind: str) -> None:
        """`kind` is the name of the store: "redis", "sqlite" or "memory"."""
        self._store = store
        self._spans = spans
        self._kind = kind
        self.shared = store.shared
        self.cached = store.cached

    def call(self, name: str, work: Awaitable[T]) -> Awaitable[T]:
        """Return a call that is a span when it is awaited."""
        attributes = {
            "db.system.name": self._kind,
            "db.operation.name": name,
            "db.collection.name": "sessions",
        }
        return self._spans.around(f"{name} sessions", attributes, work)

    async def load(self, session_id: str) -> Record | None:
        return await self.call("load", self._store.load(session_id))

    def try_lock(self, session_id: str) -> Lease | None:
        lease = self._store.try_lock(session_id)
        if lease is None or log_context.span.get() is None:
            return lease
        return TracedLease(self, lease)

    async def lock(self, session_id: str) -> Lease:
        return TracedLease(self, await self.call("lock", self._store.lock(session_id)))

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        return await self.call("load_many", self._store.load_many(session_ids))

    async def save(self, record: Record) -> None:
        await self.call("create", self._store.save(record))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self.call("touch", self._store.touch(seen))

    async def destroy(self, session_id: str) -> Record | None:
        return await self.call("destroy", self._store.destroy(session_id))

    async def replaced_by(self, session_id: str) -> bytes | None:
        return await self.call("replaced_by", self._store.replaced_by(session_id))

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return await self.call("of_user", self._store.of_user(user_id, limit))

    async def count(self, user_id: str) -> int:
        return await self.call("count", self._store.count(user_id))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        return await self.call("find", self._store.find(user_id, public_id))

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        return await self.call("trim", self._store.trim(user_id, maximum, keep, limit))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return await self.call("purge", self._store.purge(now, limit))

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        return await self.call("scan", self._store.scan(cursor, limit))

    async def stored(self) -> int:
        return await self.call("stored", self._store.stored())

    async def ping(self) -> None:
        await self.call("ping", self._store.ping())

    async def close(self) -> None:
        await self._store.close()


class TracedLease:
    """A lease of a TracedStore."""

    __slots__ = ("_lease", "_store")

    def __init__(self, store: TracedStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease

    @property
    def record(self) -> Record | None:
        return self._lease.record

    async def save(self, data: bytes) -> Record:
        return await self._store.call("save", self._lease.save(data))

    async def replace(self, record: Record, note: bytes = b"") -> None:
        await self._store.call("replace", self._lease.replace(record, note))

    async def release(self) -> None:
        await self._store.call("release", self._lease.release())
