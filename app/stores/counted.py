"""A store that counts what it is asked, what fails, and how long it takes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeVar

from app.histogram import Histogram
from app.stores.base import Lease, Record, SessionStore, StoreError

T = TypeVar("T")


class CountedLease:
    """The lock of one session; its save is counted."""

    __slots__ = ("_counted", "_lease", "record")

    def __init__(self, lease: Lease, counted: CountedStore) -> None:
        self._lease = lease
        self._counted = counted
        self.record = lease.record

    async def save(self, data: bytes) -> Record:
        began = perf_counter()
        try:
            return await self._lease.save(data)
        except StoreError:
            self._counted.errors["save"] += 1
            raise
        finally:
            self._counted.saves.observe(perf_counter() - began)

    def release(self) -> Coroutine[Any, Any, None]:
        return self._lease.release()


class CountedStore:
    """Stands before another store; together with the other counts it costs an event about 1 µs.

    What the store has beyond the protocol is reached through it as well.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.loads = 0  # not timed, being part of every event: `lock` reads as well
        self.locks = Histogram()  # with the wait for whoever holds it
        self.saves = Histogram()
        self.others: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.errors: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, session_id: str) -> Record | None:
        self.loads += 1
        try:
            return await self._store.load(session_id)
        except StoreError:
            self.errors["load"] += 1
            raise

    async def lock(self, session_id: str) -> CountedLease:
        began = perf_counter()
        try:
            return CountedLease(await self._store.lock(session_id), self)
        except StoreError:
            self.errors["lock"] += 1
            raise
        finally:
            self.locks.observe(perf_counter() - began)

    async def _count(self, call: str, work: Awaitable[T]) -> T:
        began = perf_counter()
        try:
            return await work
        except StoreError:
            self.errors[call] += 1
            raise
        finally:
            self.others[call].observe(perf_counter() - began)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        return await self._count("load_many", self._store.load_many(session_ids))

    async def save(self, record: Record) -> None:
        await self._count("create", self._store.save(record))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        await self._count("touch", self._store.touch(seen))

    async def destroy(self, session_id: str) -> Record | None:
        return await self._count("destroy", self._store.destroy(session_id))

    async def of_user(self, user: str) -> list[Record]:
        return await self._count("of_user", self._store.of_user(user))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return await self._count("purge", self._store.purge(now, limit))

    async def ping(self) -> None:
        await self._count("ping", self._store.ping())

    async def close(self) -> None:
        await self._store.close()
