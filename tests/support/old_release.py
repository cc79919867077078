"""What a release without account ids has left: accounts, and sessions that know names only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from app.accounts.passwords import Passwords
from app.database.engine import open_engine
from app.stores import public_id
from tests.support.forms import PASSWORD
from tests.support.postgres import Place
from tests.support.redis_server import shared_server

_ACCOUNTS = (
    "CREATE TABLE accounts (key TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, "
    "password_hash TEXT NOT NULL, created {double} NOT NULL)"
)
_SESSIONS = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, data BLOB NOT NULL, created REAL NOT NULL, seen REAL NOT NULL,
    expires REAL NOT NULL, user TEXT, remote_address TEXT NOT NULL, user_agent TEXT NOT NULL,
    version INTEGER NOT NULL, public_id TEXT
) WITHOUT ROWID;
"""


def make_accounts(place: Place, names: Sequence[str]) -> None:
    """Make the database with these accounts."""
    place.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(place.settings, connections=1)
    double = "DOUBLE PRECISION" if engine.dialect.name == "postgresql" else "DOUBLE"
    password_hash = Passwords().hash(PASSWORD)
    with engine.begin() as connection:
        connection.exec_driver_sql(_ACCOUNTS.format(double=double))
        for name in names:
            row = {"key": name.casefold(), "name": name, "hash": password_hash}
            connection.execute(
                sa.text("INSERT INTO accounts VALUES (:key, :name, :hash, 1000.5)"), row
            )
    engine.dispose()


class OldSession(msgspec.Struct):
    """A session of a user, with the data of the demo."""

    id: str
    user: str
    seen: float
    count: int = 0

    @property
    def data(self) -> bytes:
        return msgspec.msgpack.encode({"count": self.count})

    @property
    def expires(self) -> float:
        return self.seen + 86_400


def store_in_sqlite(path: Path, sessions: Sequence[OldSession]) -> None:
    """Store these sessions in a file as that release did."""
    rows = [
        (
            *(one.id, one.data, one.seen, one.seen, one.expires, one.user, "127.0.0.1", "test", 1),
            public_id(one.id),
        )
        for one in sessions
    ]
    with contextlib.closing(sqlite3.connect(path)) as file:
        known = file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sessions'")
        if not known.fetchone()[0]:
            file.executescript(_SESSIONS)
        columns = "id, data, created, seen, expires, user, remote_address, user_agent, version"
        file.executemany(
            f"INSERT INTO sessions ({columns}, public_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        file.commit()


def store_in_redis(sessions: Sequence[OldSession]) -> None:
    """Store these sessions in the Redis of the test session as that release did."""
    with shared_server().client() as redis:
        for one in sessions:
            fields: dict[Any, Any] = {
                "version": 1,
                "data": one.data,
                "seen": repr(one.seen),
                "expires": repr(one.expires),
                "made": msgspec.msgpack.encode((one.seen, "127.0.0.1", "test")),
                "user": one.user,
                "public": public_id(one.id),
            }
            redis.hset(f"latchkey:{{{one.id}}}", mapping=fields)
            redis.zadd(f"latchkey:user:{one.user}", {one.id: one.seen})
            redis.hset(f"latchkey:public:{one.user}", public_id(one.id), one.id)
            redis.zadd("latchkey:expiry", {one.id: one.expires})
