"""Sessions in an SQLite file that one process owns: the default, with nothing to install.

An acknowledged change survives `kill -9` and a power cut: write-ahead log, synced at each
commit (https://www.sqlite.org/pragma.html#pragma_synchronous, FULL).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from app.stores.errors import StoreUnavailable
from app.stores.locks import Locks
from app.stores.protocol import MAX_LISTED
from app.stores.record import Record
from app.stores.sqlite import log_check, rows
from app.stores.sqlite.database_file import connect, own, remedy
from app.stores.sqlite.file_identity import FileIdentity, FileWatch
from app.stores.sqlite.group_commit import GroupCommit
from app.stores.sqlite.lease import SqliteLease
from app.stores.sqlite.readers import Readers
from app.stores.sqlite.rows import to_record

T = TypeVar("T")

_MAX_CACHED = 20_000  # records, of about half a kilobyte each


class SqliteStore:
    """A SessionStore in one SQLite file.

    This process owns the file, so it caches what it reads and writes. `load_many` and `purge`
    always ask the file, and notice records that an operator removed by hand.
    """

    shared = False

    def __init__(self, path: Path) -> None:
        """Open or create the file; raises FileOwned or StoreUnavailable."""
        self._path = path
        self._owner = own(path)
        try:
            writer = connect(path)
            self._readers = Readers(partial(connect, path), path.name)
        except sqlite3.Error as error:
            os.close(self._owner)
            raise StoreUnavailable(
                f"{path} could not be opened ({error}); {remedy(error)}"
            ) from error
        self._page_size: int = writer.execute("PRAGMA page_size").fetchone()[0]
        self._commits = GroupCommit(writer, path.name, FileWatch(FileIdentity(path)))
        self._locks = Locks()
        self._cache: dict[str, Record] = {}
        self._data_version = 0
        self._pinging = asyncio.Lock()

    # -- records --

    def cached(self, session_id: str) -> Record | None:
        return self._cache.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        return self._cache.get(session_id) or self._load(session_id)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), rows.MAX_IDS):
            ids = tuple(session_ids[start : start + rows.MAX_IDS])
            for row in await self._readers.read_many(rows.load_many(len(ids)), ids):
                found[row[0]] = to_record(row)
        for session_id in session_ids:
            if session_id not in found:
                self._cache.pop(session_id, None)
        return found

    async def save(self, record: Record) -> None:
        values = rows.to_insert(record)
        await self._write(lambda cursor: cursor.execute(rows.INSERT, values))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        values = [(last, expires, id, last) for id, (last, expires) in seen.items()]
        await self._write(
            lambda cursor: cursor.executemany(rows.TOUCH, values), invalidate=list(seen)
        )

    async def destroy(self, session_id: str) -> Record | None:
        def work(cursor: sqlite3.Cursor) -> Record | None:
            row = cursor.execute(rows.LOAD, (session_id,)).fetchone()
            cursor.execute(rows.DELETE, (session_id,))
            return to_record(row) if row else None

        return await self._write(work, invalidate=[session_id])

    async def purge(self, now: float, limit: int) -> list[Record]:
        version = await self._write(rows.data_version)
        if version != self._data_version:
            # another program wrote to the file
            self._data_version = version
            self._cache.clear()
        expired = await self._readers.read_many(rows.EXPIRED, (now, limit))
        if not expired:
            return []

        def work(cursor: sqlite3.Cursor) -> list[Record]:
            # checked again inside of the transaction: a touch may have come in between
            return [
                to_record(row)
                for row in expired
                if cursor.execute(rows.DELETE_EXPIRED, (row[0], now)).rowcount
            ]

        return await self._write(work, invalidate=[row[0] for row in expired])

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        statement, values = (rows.SCAN, (cursor, limit)) if cursor else (rows.SCAN_FIRST, (limit,))
        found = await self._readers.read_many(statement, values)
        return [to_record(row) for row in found], found[-1][0] if len(found) == limit else ""

    async def stored(self) -> int:
        return int((await self._readers.read_many(rows.COUNT_ALL, ()))[0][0])

    async def ping(self) -> None:
        async with self._pinging:  # another call would overwrite the mark
            await self._check_health()

    async def close(self) -> None:
        await self._commits.close()
        await self._readers.close()
        # once only: the number may be another file's by the second time
        owner, self._owner = self._owner, -1
        if owner != -1:
            os.close(owner)

    async def replaced_by(self, session_id: str) -> bytes | None:
        return None

    # -- leases --

    def try_lock(self, session_id: str) -> SqliteLease | None:
        record = self._cache.get(session_id)
        if record is None or not self._locks.try_acquire(session_id):
            return None
        return SqliteLease(session_id, record, self._locks, self._cache, self._commits)

    async def lock(self, session_id: str) -> SqliteLease:
        await self._locks.acquire(session_id)
        try:
            record = self._cache.get(session_id) or self._load(session_id)
        except BaseException:
            self._locks.release(session_id)
            raise
        return SqliteLease(session_id, record, self._locks, self._cache, self._commits)

    # -- sessions of a user --

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        return [
            to_record(row) for row in await self._readers.read_many(rows.OF_USER, (user_id, limit))
        ]

    async def count(self, user_id: str) -> int:
        return int((await self._readers.read_many(rows.COUNT, (user_id,)))[0][0])

    async def find(self, user_id: str, public_id: str) -> Record | None:
        found = self._readers.read(rows.FIND, (user_id, public_id))
        return to_record(found[0]) if found else None

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        excess = min(await self.count(user_id) - maximum, limit)
        if excess <= 0:
            return []
        oldest = await self._readers.read_many(rows.OLDEST, (user_id, keep, excess))

        def work(cursor: sqlite3.Cursor) -> list[Record]:
            # counted again inside of the transaction: another trim may have come in between
            (count,) = cursor.execute(rows.COUNT_TO, (user_id, maximum + len(oldest))).fetchone()
            removed: list[Record] = []
            for row in oldest:
                if len(removed) < count - maximum and (
                    cursor.execute(rows.DELETE, (row[0],)).rowcount
                ):
                    removed.append(to_record(row))
            return removed

        return await self._write(work, invalidate=[row[0] for row in oldest])

    # -- private --

    def _load(self, session_id: str) -> Record | None:
        """Read a record from the file into the cache."""
        found = self._readers.read(rows.LOAD, (session_id,))
        if not found:
            return None
        if len(self._cache) >= _MAX_CACHED:
            # drop the oldest entry; a session in use is read again
            del self._cache[next(iter(self._cache))]
        record = self._cache[session_id] = to_record(found[0])
        return record

    async def _check_health(self) -> None:
        self._readers.read("SELECT id FROM sessions LIMIT 1", ())
        check = log_check.LogCheck(self._path, self._page_size)
        for mark in check.marks():
            await self._write_mark(mark)
            if await asyncio.to_thread(check.keeps, mark):
                return
        raise StoreUnavailable(check.damage())

    async def _write_mark(self, mark: int) -> None:
        await self._write(lambda cursor: cursor.execute(log_check.write_mark(mark)))

    async def _write(
        self, work: Callable[[sqlite3.Cursor], T], invalidate: Sequence[str] = ()
    ) -> T:
        """Run one write and return its result once it is on disk; drop these ids from the cache."""
        return await self._commits.submit(_Work(work, self._cache, invalidate))


class _Work(Generic[T]):
    """A Write that calls a function."""

    __slots__ = ("_cache", "_invalidate", "_work")

    def __init__(
        self,
        work: Callable[[sqlite3.Cursor], T],
        cache: dict[str, Record],
        invalidate: Sequence[str],
    ) -> None:
        self._work = work
        self._cache = cache
        self._invalidate = invalidate

    @staticmethod
    def run(cursor: sqlite3.Cursor, writes: Sequence[_Work[T]]) -> list[T]:
        return [write._work(cursor) for write in writes]

    def finish(self, result: T | None) -> None:
        for session_id in self._invalidate:
            self._cache.pop(session_id, None)
