"""The stores that tests run against, and how to open them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.stores import Record, SessionStore
from app.stores.memory import MemoryStore
from app.stores.redis import open_store
from app.stores.sqlite.store import SqliteStore
from tests.support.redis_server import empty_redis
from tests.support.suspending_store import SuspendingStore

# one line per store; a test that takes `kind` runs once for each
STORES: dict[str, Callable[[Path], SessionStore]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "sessions.sqlite3"),
    "suspending memory": lambda folder: SuspendingStore(MemoryStore()),
    "suspending sqlite": lambda folder: SuspendingStore(SqliteStore(folder / "sessions.sqlite3")),
    "redis": lambda folder: open_store(empty_redis()),
    "suspending redis": lambda folder: SuspendingStore(open_store(empty_redis())),
}
every_store = pytest.mark.parametrize("kind", STORES)


@contextlib.asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[SessionStore]:
    """Open a store of this kind and close it at the end."""
    store = STORES[kind](folder)
    try:
        yield store
    finally:
        await store.close()


def record(id: str = "a", *, seen: float = 1000.0, **values: object) -> Record:
    """Return a complete record."""
    fields = {"data": b"\x80", "created": 1000.0, "seen": seen, "expires": seen + 100, **values}
    return Record(id=id, **fields)  # type: ignore[arg-type]
