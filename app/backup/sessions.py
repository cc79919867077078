"""Sessions of a backup: in the file of the SQLite store, also those of Redis.

Those of Redis are read and written as the server does it. So a Redis on another machine, one with
replicas, and one of a provider can be backed up, and restored into another kind of store.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from app.backup.errors import BackupError
from app.settings import Settings
from app.stores import Record, SessionStore, pages_of
from app.stores.sqlite import rows
from app.stores.sqlite.database_file import connect

_PAGE = 200  # records; a busy Redis must answer to as many commands within a second
_NUMBERS = "latchkey:number:*"  # keys that running processes hold
_ADD = rows.INSERT.replace("INSERT", "INSERT OR REPLACE", 1)

#: Returns those of these records that stay.
Filter = Callable[[Sequence[Record]], Awaitable[list[Record]]]


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[SessionStore]:
    """Open the Redis of --store; raises BackupError or StoreUnavailable."""
    try:
        redis = import_module("app.stores.redis")
    except ImportError as error:
        raise BackupError(
            f"--store redis needs the package {error.name}; run pip install -e '.[redis]'"
        ) from None
    store: SessionStore = redis.open_store(settings.store)
    try:
        yield store
    finally:
        await store.close()


async def save(settings: Settings, path: Path) -> None:
    """Write all sessions to a new file."""
    async with opened(settings) as store:
        with _file(path) as file:
            async for page in pages_of(store, _PAGE):
                file.execute("BEGIN")
                # a scan may return a record twice
                file.executemany(_ADD, [rows.to_insert(record) for record in page])
                file.execute("COMMIT")


async def load(path: Path, store: SessionStore, filter: Filter) -> int:
    """Add the sessions of a file that the store lacks; return how many `filter` refused."""
    refused = 0
    with _file(path) as file:
        for page in _pages_of_file(file):
            stay = await filter(page)
            there = await store.load_many([record.id for record in stay])
            await asyncio.gather(*(store.save(each) for each in stay if each.id not in there))
            refused += len(page) - len(stay)
    return refused


async def end_in_file(path: Path, filter: Filter) -> int:
    """Remove the sessions of a file that `filter` does not let stay; return how many."""
    ended = 0
    with _file(path) as file:
        for page in _pages_of_file(file):
            stay = {record.id for record in await filter(page)}
            ends = [(record.id,) for record in page if record.id not in stay]
            file.execute("BEGIN")
            file.executemany(rows.DELETE, ends)
            file.execute("COMMIT")
            ended += len(ends)
    return ended


async def end(store: SessionStore, filter: Filter) -> int:
    """Remove the sessions that `filter` does not let stay; return how many."""
    ended = 0
    async for page in pages_of(store, _PAGE):
        stay = {record.id for record in await filter(page)}
        ends = (store.destroy(record.id) for record in page if record.id not in stay)
        ended += sum(record is not None for record in await asyncio.gather(*ends))
    return ended


async def is_empty(store: SessionStore) -> bool:
    """Whether the store has no session."""
    async for page in pages_of(store, _PAGE):
        if page:
            return False
    return True


async def check_unused(settings: Settings) -> None:
    """Raise BackupError if a process of the site runs."""
    client: Any = import_module("app.stores.redis").RedisClient(settings.store)
    try:
        await client.open()
        cursor = b"0"
        while True:
            cursor, keys = await client.execute("SCAN", cursor, "MATCH", _NUMBERS, "COUNT", 1000)
            for key in keys:
                number = key.decode().rpartition(":")[2]
                raise BackupError(
                    f"process {number} of the site runs; stop all processes first, on every "
                    "machine, and wait 10 s for one that was killed"
                )
            if cursor == b"0":
                return
    finally:
        await client.close()


@contextlib.contextmanager
def _file(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file of sessions, or make it; afterwards it has no log beside it."""
    with contextlib.closing(connect(path)) as file:
        yield file
        file.execute("PRAGMA journal_mode = DELETE")


def _pages_of_file(file: sqlite3.Connection) -> Iterator[list[Record]]:
    after = ""
    while found := file.execute(rows.SCAN, (after, _PAGE)).fetchall():
        yield [rows.to_record(row) for row in found]
        after = found[-1][0]
