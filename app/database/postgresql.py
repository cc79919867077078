"""Connections to PostgreSQL with timeouts; needs psycopg (the extra `postgresql`)."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import psycopg
import psycopg.conninfo
import sqlalchemy as sa

_CONNECT_TIMEOUT = 2  # seconds, the minimum of libpq
_STATEMENT_TIMEOUT = 1500  # milliseconds that the server runs a statement or waits for a lock
_ANSWER_TIMEOUT = 1.8  # seconds; longer than the server's own timeout
_POOL_TIMEOUT = 2.0  # seconds that a thread waits for a connection
_MAX_AGE = 1800  # seconds after which a connection is replaced, to follow a moved server


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not answer in time.

    The server's own timeouts do not help if the server hangs, is paused or is disconnected.
    """

    answer_timeout: float | None = _ANSWER_TIMEOUT  # seconds; None: no limit

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server (psycopg calls this for every operation of a connection)."""
        return super().wait(self._limited(gen), *args, **options)

    def _limited(self, gen: Any) -> Generator[Any, Any, Any]:
        end = time.monotonic() + (self.answer_timeout or math.inf)
        try:
            wanted = next(gen)
            while True:
                # psycopg resumes this at intervals even if nothing is ready
                ready = yield wanted
                if not ready and time.monotonic() >= end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.answer_timeout:g} s")
                wanted = gen.send(ready)
        except StopIteration as end_of_work:
            return end_of_work.value


def engine(url: str, connections: int) -> sa.Engine:
    """Return an engine for a postgresql:// URL of libpq, with at most so many connections.

    It connects on first use. Raises OSError for parameters that libpq does not know.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's message may quote the password
        raise OSError(
            "the parameters of --database are none that PostgreSQL knows; "
            "write postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=require, for example"
        ) from None
    parameters: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "application_name": "latchkey",
        "prepare_threshold": None,  # for PgBouncer, which shares connections
        **given,
    }

    def connect() -> psycopg.Connection[Any]:
        connection = LimitedConnection.connect(**parameters, autocommit=True)
        limits = (
            f"SET statement_timeout = {_STATEMENT_TIMEOUT}; SET lock_timeout = {_STATEMENT_TIMEOUT}"
        )
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
        pool_timeout=_POOL_TIMEOUT,
        pool_recycle=_MAX_AGE,
        pool_pre_ping=True,
    )
