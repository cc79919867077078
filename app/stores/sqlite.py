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
from typing import TypeVar

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
_COLUMNS = "id, data, created, seen, expires, user, remote_address, user_agent, version"
_LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE id = ?"  # noqa: S608 (constants only)
_INSERT = f"INSERT INTO sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_UPDATE = (
    "UPDATE sessions SET data = ?, seen = max(seen, ?), expires = max(expires, ?), user = ?, "
    "remote_address = ?, user_agent = ?, version = ? WHERE id = ? AND version = ?"
)
_LOCKED_FOR = 2.0  # seconds that a write waits for another program to unlock the file
_IDS_AT_ONCE = 500  # SQLite's oldest bound on parameters of one statement is 999

_Row = tuple[str, bytes, float, float, float, "str | None", str, str, int]


class FileOwned(Exception):
    """Another process owns this file."""


def _record(row: _Row) -> Record:
    id, data, created, seen, expires, user, address, agent, version = row
    return Record(
        id=id,
        data=data,
        created=created,
        seen=seen,
        expires=expires,
        user=user,
        remote_address=address,
        user_agent=agent,
        version=version,
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_LOCKED_FOR, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


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

    Reads run on the event loop's thread: one indexed row out of SQLite's page cache costs less
    than handing the question to a thread would. Writes go to the writer thread.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises FileOwned or StoreUnavailable."""
        self._path = path
        self._owner = _own(path)
        try:
            writer = _connect(path)
            writer.executescript(_SCHEMA)
            self._reader = _connect(path)
            # a reader in WAL mode waits for nobody, so it need not wait on the loop
            self._reader.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            os.close(self._owner)
            raise StoreUnavailable(
                f"{path} could not be opened ({error}); move it away to begin with a new one"
            ) from error
        self._writes = GroupCommit(writer, path.name)
        self._locks = Locks()

    async def load(self, session_id: str) -> Record | None:
        rows = self._read(_LOAD, (session_id,))
        return _record(rows[0]) if rows else None

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
        return found

    async def save(self, record: Record) -> None:
        values = (
            record.id,
            record.data,
            record.created,
            record.seen,
            record.expires,
            record.user,
            record.remote_address,
            record.user_agent,
            record.version,
        )
        await self._write(lambda connection: connection.execute(_INSERT, values))

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        values = [(last, expires, id) for id, (last, expires) in seen.items()]
        await self._write(
            lambda connection: connection.executemany(
                "UPDATE sessions SET seen = ?, expires = ? WHERE id = ?", values
            )
        )

    async def destroy(self, session_id: str) -> Record | None:
        def work(connection: sqlite3.Connection) -> Record | None:
            row = connection.execute(_LOAD, (session_id,)).fetchone()
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            return _record(row) if row else None

        return await self._write(work)

    async def lock(self, session_id: str) -> SqliteLease:
        await self._locks.acquire(session_id)
        try:
            rows = self._read(_LOAD, (session_id,))
        except BaseException:
            self._locks.release(session_id)
            raise
        return SqliteLease(self, session_id, _record(rows[0]) if rows else None)

    async def of_user(self, user: str) -> list[Record]:
        rows = self._read(
            f"SELECT {_COLUMNS} FROM sessions WHERE user = ?",  # noqa: S608
            (user,),
        )
        return [_record(row) for row in rows]

    async def purge(self, now: float, limit: int) -> list[Record]:
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

        return await self._write(work)

    async def ping(self) -> None:
        self._read("SELECT 1", ())
        # an empty write finds a full disk only at times, but a locked file always
        await self._write(lambda connection: None)

    async def close(self) -> None:
        await self._writes.close()
        self._reader.close()
        os.close(self._owner)

    def _read(self, statement: str, values: Sequence[object]) -> list[_Row]:
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"{self._path.name} could not be read ({error}); try again"
            ) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writes.submit(work)


class SqliteLease:
    """The lock of one session in an SqliteStore."""

    __slots__ = ("_id", "_store", "record")

    def __init__(self, store: SqliteStore, session_id: str, record: Record | None) -> None:
        self._store = store
        self._id = session_id
        self.record = record

    async def save(self, record: Record) -> None:
        read = self.record.version if self.record is not None else 0
        values = (
            record.data,
            record.seen,
            record.expires,
            record.user,
            record.remote_address,
            record.user_agent,
            record.version,
            self._id,
            read,
        )

        def work(connection: sqlite3.Connection) -> bool:
            """Return whether there still is such a record; raise LeaseLost where it is another."""
            if connection.execute(_UPDATE, values).rowcount:
                return True
            if connection.execute(_LOAD, (self._id,)).fetchone():
                raise LeaseLost(self._id)
            return False

        # the lock outlives a cancelled caller until its write is over
        if not await self._store._writes.submit(work, after=self._unlock):
            raise RecordGone(self._id)

    async def release(self) -> None:
        self._unlock()

    def _unlock(self) -> None:
        self._store._locks.release(self._id)
