"""A session store whose calls are spans of the page or event that makes them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from app.common import log_context
from app.stores import Lease, Record, SessionStore
from app.stores.wrapper import StoreWrapper
from app.tracing.spans import ChildSpans

T = TypeVar("T")


class TracedStore(StoreWrapper):
    """A SessionStore over another one; spans follow the semantic conventions of databases."""

    def __init__(self, store: SessionStore, spans: ChildSpans, *, kind: str) -> None:
        """`kind` is the name of the store: "redis", "sqlite" or "memory"."""
        super().__init__(store)
        self._spans = spans
        self._kind = kind

    async def around(self, call: str, work: Awaitable[T]) -> T:
        """Await a call in a span of its own."""
        attributes = {
            "db.system.name": self._kind,
            "db.operation.name": call,
            "db.collection.name": "sessions",
        }
        return await self._spans.around(f"{call} sessions", attributes, work)

    async def load(self, session_id: str) -> Record | None:
        return await self.around("load", self._store.load(session_id))

    def try_lock(self, session_id: str) -> Lease | None:
        lease = self._store.try_lock(session_id)
        if lease is None or log_context.span.get() is None:
            return lease
        return TracedLease(self, lease)

    async def lock(self, session_id: str) -> Lease:
        return TracedLease(self, await self.around("lock", self._store.lock(session_id)))


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
        return await self._store.around("save", self._lease.save(data))

    async def replace(self, record: Record, note: bytes = b"") -> None:
        await self._store.around("replace", self._lease.replace(record, note))

    async def release(self) -> None:
        await self._store.around("release", self._lease.release())
