"""Connections to PostgreSQL that never wait for long; needs psycopg (the extra `postgresql`)."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
import psycopg.conninfo
import sqlalchemy as sa

_CONNECT = 2  # seconds; libpq takes no fewer
_STATEMENT = 1500  # milliseconds that the server works on a statement or waits for a lock
_ANSWER = 1.8  # seconds that we wait for what the server should have given up before
_POOL = 2.0  # seconds that a thread waits for a connection
_RECYCLE = 1800  # seconds after which a connection is replaced, which follows a moved server


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is given up when the server does not answer in time.

    The server's own time limits do not help with one that hangs, is paused, or is cut off.
    """

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server (psycopg calls this for all that a connection does)."""
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Any) -> Generator[Any, Any, Any]:
        end = time.monotonic() + _ANSWER
        try:
            wanted = next(gen)
            while True:
                # nothing is ready when the driver only wants to see whether it should go on
                ready = yield wanted
                if not ready and time.monotonic() >= end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {_ANSWER:g} s")
                wanted = gen.send(ready)
        except StopIteration as end_of_work:
            return end_of_work.value


def engine(url: str, connections: int) -> sa.Engine:
    """Return an engine of so many connections for a postgresql:// URL as libpq reads it.

    Nothing is connected yet. Raises OSError for parameters that libpq does not know.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own sentence may quote the password
        raise OSError(
            "the parameters of --database are none that PostgreSQL knows; "
            "write postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=require, for example"
        ) from None
    parameters: dict[str, Any] = {
        "connect_timeout": _CONNECT,
        "application_name": "latchkey",
        "prepare_threshold": None,  # so that PgBouncer may hand out its connections
        **given,
    }

    def connect() -> psycopg.Connection[Any]:
        connection = LimitedConnection.connect(**parameters, autocommit=True)
        limits = f"SET statement_timeout = {_STATEMENT}; SET lock_timeout = {_STATEMENT}"
        connection.execute(limits.encode())
        if connection.info.parameter_status("server_encoding") != "UTF8":
            connection.close()
            raise psycopg.OperationalError("its encoding is not UTF8, so it cannot keep all names")
        connection.autocommit = False
        return connection

    return sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL,
        pool_recycle=_RECYCLE,
        pool_pre_ping=True,
    )
