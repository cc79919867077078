"""Sessions in an SQLite file that one process owns: the default, with nothing to install.

An acknowledged change survives `kill -9` and a power cut: write-ahead log, synced at each
commit (https://www.sqlite.org/pragma.html#pragma_synchronous, FULL).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from app.stores.errors import LeaseLost, RecordGone, StoreUnavailable
from app.stores.locks import Locks
from app.stores.protocol import MAX_LISTED
from app.stores.record import Record, public_id
from app.stores.sqlite import health
from app.stores.sqlite.file import connect, own, remedy
from app.stores.sqlite.file_identity import FileIdentity
from app.stores.sqlite.group_commit import GroupCommit

T = TypeVar("T")

_COLUMNS = ", ".join(Record.__struct_fields__)
_LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE id = ?"  # noqa: S608 (constants only)
_INSERT = (
    f"INSERT INTO sessions ({_COLUMNS}, public_id) "  # noqa: S608
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FIND = f"SELECT {_COLUMNS} FROM sessions WHERE user = ? AND public_id = ?"  # noqa: S608
_OF_USER = f"SELECT {_COLUMNS} FROM sessions WHERE user = ? ORDER BY seen DESC LIMIT ?"  # noqa: S608
_OLDEST = (
    f"SELECT {_COLUMNS} FROM sessions WHERE user = ? AND id != ? "  # noqa: S608
    "ORDER BY seen LIMIT ?"
)
_COUNT_TO = "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user = ? LIMIT ?)"
_UPDATE = "UPDATE sessions SET data = ?, version = version + 1 WHERE id = ? AND version = ?"
_MOST_CACHED = 20_000  # records, of about half a kilobyte each
_IDS_AT_ONCE = 500  # SQLite's oldest bound on parameters of one statement is 999

_Row = tuple[Any, ...]  # the columns in their order


def _record(row: _Row) -> Record:
    return Record(**dict(zip(Record.__struct_fields__, row, strict=True)))


def _delete(cursor: sqlite3.Cursor, session_id: str) -> bool:
    """Delete one record; tell whether there was one."""
    return bool(cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount)


def _data_version(cursor: sqlite3.Cursor) -> int:
    """Return a number that changes when a connection other than this one has written."""
    version: int = cursor.execute("PRAGMA data_version").fetchone()[0]
    return version


class SqliteStore:
    """A SessionStore in one SQLite file.

    Since this process owns the file, it may remember what it read and wrote: `load` and `lock`
    answer from memory where they can. What somebody removes by hand is noticed by `load_many`,
    which always asks the file, and by `purge`, which the periodic callback calls.

    Reads of one row run on the event loop's thread: one indexed row out of SQLite's page cache
    costs less than handing the question to a thread. Reads of many rows have a thread and a
    connection of their own.
    """

    shared = False

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises FileOwned or StoreUnavailable."""
        self._path = path
        self._owner = own(path)
        try:
            writer = connect(path)
            self._reader = connect(path)
            # a reader in WAL mode waits for nobody, so it need not wait on the loop
            self._reader.execute("PRAGMA busy_timeout = 0")
            self._list_reader = connect(path)
            self._list_reader.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            os.close(self._owner)
            raise StoreUnavailable(
                f"{path} could not be opened ({error}); {remedy(error)}"
            ) from error
        self._page_size: int = writer.execute("PRAGMA page_size").fetchone()[0]
        self._writes = GroupCommit(writer, path.name, FileIdentity(path).problem)
        self._lists = ThreadPoolExecutor(1, thread_name_prefix=f"lists {path.name}")
        self._locks = Locks()
        self._cache: dict[str, Record] = {}
        self._data_version = 0
        self._pinging = asyncio.Lock()

    def cached(self, session_id: str) -> Record | None:
        return self._cache.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        return self._cache.get(session_id) or self._load(session_id)

    def _load(self, session_id: str) -> Record | None:
        rows = self._read(_LOAD, (session_id,))
        if not rows:
            return None
        if len(self._cache) >= _MOST_CACHED:
            # the one that was read or written longest ago; those in use come back
            del self._cache[next(iter(self._cache))]
        record = self._cache[session_id] = _record(rows[0])
        return record

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), _IDS_AT_ONCE):
            ids = tuple(session_ids[start : start + _IDS_AT_ONCE])
            marks = ", ".join("?" * len(ids))
            rows = await self._read_many(
                f"SELECT {_COLUMNS} FROM sessions WHERE id IN ({marks})",  # noqa: S608
                ids,
            )
            found.update((row[0], _record(row)) for row in rows)
        for session_id in session_ids:
            if session_id not in found:
                self._cache.pop(session_id, None)
        return found

    async def save(self, record: Record) -> None:
        public = None if record.user is None else public_id(record.id)
        values = (*msgspec.structs.astuple(record), public)
        await self._write(lambda cursor: cursor.execute(_INSERT, values))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        values = [(last, expires, id) for id, (last, expires) in seen.items()]
        await self._write(
            lambda cursor: cursor.executemany(
                "UPDATE sessions SET seen = ?1, expires = max(expires, ?2) "
                "WHERE id = ?3 AND seen <= ?1",
                values,
            ),
            forget=list(seen),
        )

    async def destroy(self, session_id: str) -> Record | None:
        def work(cursor: sqlite3.Cursor) -> Record | None:
            row = cursor.execute(_LOAD, (session_id,)).fetchone()
            cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            return _record(row) if row else None

        return await self._write(work, forget=[session_id])

    def try_lock(self, session_id: str) -> SqliteLease | None:
        record = self._cache.get(session_id)
        if record is None or not self._locks.try_acquire(session_id):
            return None
        return SqliteLease(self, session_id, record)

    async def lock(self, session_id: str) -> SqliteLease:
        await self._locks.acquire(session_id)
        try:
            record = self._cache.get(session_id) or self._load(session_id)
        except BaseException:
            self._locks.release(session_id)
            raise
        return SqliteLease(self, session_id, record)

    async def of_user(self, user: str, limit: int = MAX_LISTED) -> list[Record]:
        return [_record(row) for row in await self._read_many(_OF_USER, (user, limit))]

    async def count(self, user: str) -> int:
        rows = await self._read_many("SELECT count(*) FROM sessions WHERE user = ?", (user,))
        return int(rows[0][0])

    async def find(self, user: str, public_id: str) -> Record | None:
        rows = self._read(_FIND, (user, public_id))
        return _record(rows[0]) if rows else None

    async def trim(
        self, user: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        excess = min(await self.count(user) - maximum, limit)
        if excess <= 0:
            return []
        oldest = await self._read_many(_OLDEST, (user, keep, excess))

        def work(cursor: sqlite3.Cursor) -> list[Record]:
            # counted again inside of the transaction: another trim may have come in between
            (count,) = cursor.execute(_COUNT_TO, (user, maximum + len(oldest))).fetchone()
            removed: list[Record] = []
            for row in oldest:
                if len(removed) < count - maximum and _delete(cursor, row[0]):
                    removed.append(_record(row))
            return removed

        return await self._write(work, forget=[row[0] for row in oldest])

    async def purge(self, now: float, limit: int) -> list[Record]:
        version = await self._write(_data_version)
        if version != self._data_version:
            # another program wrote to the file
            self._data_version = version
            self._cache.clear()
        due = await self._read_many(
            f"SELECT {_COLUMNS} FROM sessions WHERE expires <= ? LIMIT ?",  # noqa: S608
            (now, limit),
        )
        if not due:
            return []

        def work(cursor: sqlite3.Cursor) -> list[Record]:
            # asked again inside of the transaction: a touch may have come in between
            return [
                _record(row)
                for row in due
                if cursor.execute(
                    "DELETE FROM sessions WHERE id = ? AND expires <= ?", (row[0], now)
                ).rowcount
            ]

        return await self._write(work, forget=[row[0] for row in due])

    async def ping(self) -> None:
        async with self._pinging:  # or one would look for its number, and find another's
            await self._ping()

    async def _ping(self) -> None:
        self._read("SELECT id FROM sessions LIMIT 1", ())
        said: object = ""
        for _ in range(health.ATTEMPTS):
            mark = health.new_mark()
            await self._write_mark(mark)
            try:
                found = await asyncio.to_thread(
                    health.mark_after_crash, self._path, self._page_size
                )
            except sqlite3.Error as error:
                said = error
                continue
            if found in (mark, None):
                return
        raise StoreUnavailable(health.damage(self._path, said))

    async def _write_mark(self, mark: int) -> None:
        await self._write(lambda cursor: cursor.execute(health.write_mark(mark)))

    async def close(self) -> None:
        await self._writes.close()
        await asyncio.get_running_loop().run_in_executor(None, self._lists.shutdown)
        self._reader.close()
        self._list_reader.close()
        # once only: the number may be another file's by the second time
        owner, self._owner = self._owner, -1
        if owner != -1:
            os.close(owner)

    def _read(self, statement: str, values: Sequence[object]) -> list[_Row]:
        return self._ask(self._reader, statement, values)

    async def _read_many(self, statement: str, values: Sequence[object]) -> list[_Row]:
        """Read rows off the loop's thread, since many of them, or a cold disk, take a while."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(
                self._lists, self._ask, self._list_reader, statement, values
            )
        except RuntimeError as error:
            raise StoreUnavailable(f"{self._path.name} is closed") from error
        return await reading

    def _ask(
        self, reader: sqlite3.Connection, statement: str, values: Sequence[object]
    ) -> list[_Row]:
        try:
            return reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"{self._path.name} could not be read ({error}); try again"
            ) from error

    async def _write(self, work: Callable[[sqlite3.Cursor], T], forget: Sequence[str] = ()) -> T:
        """Run one write and return once it is on disk; then read these ids anew."""
        return await self._writes.submit(_Work(work, self._cache, forget))


class _Work(Generic[T]):
    """A write after which some records have to be read anew."""

    __slots__ = ("_cache", "_forget", "_work")

    def __init__(
        self,
        work: Callable[[sqlite3.Cursor], T],
        cache: dict[str, Record],
        forget: Sequence[str],
    ) -> None:
        self._work = work
        self._cache = cache
        self._forget = forget

    @staticmethod
    def run(cursor: sqlite3.Cursor, writes: Sequence[_Work[T]]) -> list[T]:
        return [write._work(cursor) for write in writes]

    def over(self, result: T | None) -> None:
        for session_id in self._forget:
            self._cache.pop(session_id, None)


class SqliteLease(msgspec.Struct, eq=False):  # made faster than other objects
    """The lock of one session in an SqliteStore, and the write that gives it back."""

    _store: SqliteStore
    _id: str
    record: Record | None
    _saved: Record = None  # type: ignore[assignment]  # by `save`

    __repr__ = object.__repr__  # a log must not show the id

    async def save(self, data: bytes) -> Record:
        if self.record is None:
            self._store._locks.release(self._id)
            raise RecordGone(self._id)
        self._saved = self.record.with_data(data)
        return await self._store._writes.submit(self)

    async def release(self) -> None:
        self._store._locks.release(self._id)

    @staticmethod
    def run(cursor: sqlite3.Cursor, leases: Sequence[SqliteLease]) -> list[Record | Exception]:
        """Update all in one call; only where that misses one, ask for each."""
        cursor.executemany(
            _UPDATE,
            [(lease._saved.data, lease._id, lease._saved.version - 1) for lease in leases],
        )
        if cursor.rowcount == len(leases):
            return [lease._saved for lease in leases]
        return [lease._outcome(cursor) for lease in leases]

    def _outcome(self, cursor: sqlite3.Cursor) -> Record | Exception:
        row = cursor.execute(_LOAD, (self._id,)).fetchone()
        if row is None:
            return RecordGone(self._id)
        found = _record(row)
        if (found.version, found.data) != (self._saved.version, self._saved.data):
            return LeaseLost(self._id)
        return self._saved

    def over(self, result: Record | None) -> None:
        # also for a cancelled caller the lock is kept until here
        store = self._store
        cached = store._cache.pop(self._id, None)
        # where a touch came in between, the next reader gets both from the file
        if result is not None and cached is self.record:
            store._cache[self._id] = result
        store._locks.release(self._id)
