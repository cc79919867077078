"""Sessions in an SQLite file that one process owns: the default, with nothing to install.

An acknowledged change survives `kill -9` and a power cut: write-ahead log, synced at each
commit (https://www.sqlite.org/pragma.html#pragma_synchronous, FULL).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from app.stores.base import LeaseLost, Record, RecordGone, StoreUnavailable
from app.stores.group_commit import GroupCommit
from app.stores.locks import Locks

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    created REAL NOT NULL,
    seen REAL NOT NULL,
    expires REAL NOT NULL,
    user TEXT,
    remote_address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (user) WHERE user IS NOT NULL;
"""
_COLUMNS = ", ".join(Record.__struct_fields__)
_LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE id = ?"  # noqa: S608 (constants only)
_INSERT = f"INSERT INTO sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_UPDATE = "UPDATE sessions SET data = ?, version = version + 1 WHERE id = ? AND version = ?"
_MOST_CACHED = 20_000  # records, of about half a kilobyte each
_IDS_AT_ONCE = 500  # SQLite's oldest bound on parameters of one statement is 999

_Row = tuple[Any, ...]  # the columns in their order


class FileOwned(Exception):
    """Another process owns this file."""


def _record(row: _Row) -> Record:
    return Record(**dict(zip(Record.__struct_fields__, row, strict=True)))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _remedy(error: sqlite3.Error) -> str:
    # nobody should throw his sessions away because a backup happens to be running
    if isinstance(error, sqlite3.OperationalError):
        return "see to the disk and the file's permissions, and end programs that lock it"
    return "move it away to begin with a new one"


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when a connection other than this one has written."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _own(path: Path) -> int:
    """Take the lock that makes this process the file's only one; it ends with the process."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FileOwned(
            f"{path} is in use by another process; stop that one, or give this one "
            "its own --data-dir"
        ) from None
    return descriptor


class SqliteStore:
    """A SessionStore in one SQLite file.

    Since this process owns the file, it may remember what it read and wrote: `load` and `lock`
    answer from memory where they can. What somebody removes by hand is noticed by `load_many`,
    which always asks the file, and by `purge`, which the periodic callback calls.

    Reads run on the event loop's thread: one indexed row out of SQLite's page cache costs less
    than handing the question to a thread.
    """

    shared = False

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises FileOwned or StoreUnavailable."""
        self._path = path
        self._owner = _own(path)
        try:
            writer = _connect(path)
            self._reader = _connect(path)
            # a reader in WAL mode waits for nobody, so it need not wait on the loop
            self._reader.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            os.close(self._owner)
            raise StoreUnavailable(
                f"{path} could not be opened ({error}); {_remedy(error)}"
            ) from error
        self._writes = GroupCommit(writer, path.name)
        self._locks = Locks()
        self._cache: dict[str, Record] = {}
        self._data_version = 0

    def known(self, session_id: str) -> Record | None:
        return self._cache.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        return self._load(session_id)

    def _load(self, session_id: str) -> Record | None:
        record = self._cache.get(session_id)
        if record is None:
            rows = self._read(_LOAD, (session_id,))
            if rows:
                record = _record(rows[0])
                self._remember(record)
        return record

    def _remember(self, record: Record) -> None:
        if len(self._cache) >= _MOST_CACHED:
            # the one that was read first; those in use come back with their next read
            del self._cache[next(iter(self._cache))]
        self._cache[record.id] = record

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), _IDS_AT_ONCE):
            ids = tuple(session_ids[start : start + _IDS_AT_ONCE])
            marks = ", ".join("?" * len(ids))
            rows = self._read(
                f"SELECT {_COLUMNS} FROM sessions WHERE id IN ({marks})",  # noqa: S608
                ids,
            )
            found.update((row[0], _record(row)) for row in rows)
        for session_id in session_ids:
            if session_id not in found:
                self._cache.pop(session_id, None)
        return found

    async def save(self, record: Record) -> None:
        values = msgspec.structs.astuple(record)
        await self._write(lambda connection: connection.execute(_INSERT, values))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        values = [(last, expires, id) for id, (last, expires) in seen.items()]
        await self._write(
            lambda connection: connection.executemany(
                "UPDATE sessions SET seen = ?, expires = ? WHERE id = ?", values
            ),
            forget=list(seen),
        )

    async def destroy(self, session_id: str) -> Record | None:
        def work(connection: sqlite3.Connection) -> Record | None:
            row = connection.execute(_LOAD, (session_id,)).fetchone()
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            return _record(row) if row else None

        return await self._write(work, forget=[session_id])

    def take(self, session_id: str) -> SqliteLease | None:
        record = self._cache.get(session_id)
        if record is None or not self._locks.take(session_id):
            return None
        return SqliteLease(self, session_id, record)

    async def lock(self, session_id: str) -> SqliteLease:
        await self._locks.acquire(session_id)
        try:
            return SqliteLease(self, session_id, self._load(session_id))
        except BaseException:
            self._locks.release(session_id)
            raise

    async def of_user(self, user: str) -> list[Record]:
        rows = self._read(
            f"SELECT {_COLUMNS} FROM sessions WHERE user = ?",  # noqa: S608
            (user,),
        )
        return [_record(row) for row in rows]

    async def purge(self, now: float, limit: int) -> list[Record]:
        version = await self._write(_data_version)
        if version != self._data_version:
            # another program wrote to the file
            self._data_version = version
            self._cache.clear()
        due = self._read(
            f"SELECT {_COLUMNS} FROM sessions WHERE expires <= ? LIMIT ?",  # noqa: S608
            (now, limit),
        )
        if not due:
            return []

        def work(connection: sqlite3.Connection) -> list[Record]:
            # asked again inside of the transaction: a touch may have come in between
            return [
                _record(row)
                for row in due
                if connection.execute(
                    "DELETE FROM sessions WHERE id = ? AND expires <= ?", (row[0], now)
                ).rowcount
            ]

        return await self._write(work, forget=[row[0] for row in due])

    async def ping(self) -> None:
        self._read("SELECT 1", ())
        # an empty write finds a full disk only at times, but a locked file always
        await self._write(lambda connection: None)

    async def close(self) -> None:
        await self._writes.close()
        self._reader.close()
        # once only: the number may be another file's by the second time
        owner, self._owner = self._owner, -1
        if owner != -1:
            os.close(owner)

    def _read(self, statement: str, values: Sequence[object]) -> list[_Row]:
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"{self._path.name} could not be read ({error}); try again"
            ) from error

    async def _write(
        self, work: Callable[[sqlite3.Connection], T], forget: Sequence[str] = ()
    ) -> T:
        """Run one write and return once it is on disk; then read these ids anew."""

        def after(result: T | None) -> None:
            for session_id in forget:
                self._cache.pop(session_id, None)

        return await self._writes.submit(work, after)


class SqliteLease:
    """The lock of one session in an SqliteStore."""

    __slots__ = ("_id", "_store", "record")

    def __init__(self, store: SqliteStore, session_id: str, record: Record | None) -> None:
        self._store = store
        self._id = session_id
        self.record = record

    async def save(self, data: bytes) -> Record:
        read = self.record
        values = (data, self._id, 0 if read is None else read.version)

        def work(connection: sqlite3.Connection) -> Record | None:
            """Return the record as it is now; None where it is gone."""
            updated = connection.execute(_UPDATE, values).rowcount
            row = connection.execute(_LOAD, (self._id,)).fetchone() if not updated else None
            if row:
                raise LeaseLost(self._id)
            return read.with_data(data) if updated and read is not None else None

        # also for a cancelled caller the lock is kept until the write is over
        record = await self._store._writes.submit(work, self._written)
        if record is None:
            raise RecordGone(self._id)
        return record

    async def release(self) -> None:
        self._store._locks.release(self._id)

    def _written(self, record: Record | None) -> None:
        cached = self._store._cache.pop(self._id, None)
        # where a touch came in between, the next reader gets both from the file
        if record is not None and cached is self.record:
            self._store._remember(record)
        self._store._locks.release(self._id)
