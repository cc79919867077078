"""Transactions that hold the writes of many callers, on one SQLite connection."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol, TypeVar

from app.stores.errors import StoreUnavailable

log = logging.getLogger("latchkey.store")
T = TypeVar("T")

_LOCKED_TIMEOUT = 2.0  # seconds that a write waits for another program to unlock the file


class Write(Protocol[T]):
    """One caller's change of the file."""

    @staticmethod
    def run(cursor: sqlite3.Cursor, writes: Sequence[Any], /) -> Sequence[T | Exception]:
        """Do these writes of one class in the open transaction, and return their results.

        A write whose result is an Exception has failed and changed nothing. If this raises, all
        are undone, and each runs again in a transaction of its own. Called on either thread.
        """
        ...

    def finish(self, result: T | None) -> None:
        """Act, on the loop, on the result that is on disk by now; None if the write failed."""


Outcomes = list[Any]  # for each write its result, or the Exception with which it failed


class Transactions:
    """Runs and commits batches of writes; called by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        """`connection` is in autocommit mode (isolation_level None); `name` is for errors."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._name = name
        self._set_timeout(0)

    def run(self, writes: Sequence[Write[Any]]) -> Outcomes:
        """Begin a transaction, run these writes and leave it open; undo it if one raises."""
        self._cursor.execute("BEGIN IMMEDIATE")
        try:
            outcomes: Outcomes = []
            for _, alike in groupby(writes, type):
                group = list(alike)
                outcomes += group[0].run(self._cursor, group)
        except BaseException:
            self.roll_back()
            raise
        return outcomes

    def commit(self, writes: Sequence[Write[Any]], outcomes: Outcomes | None) -> Outcomes:
        """Make the open transaction durable and return its outcomes.

        If that fails, or none is open (`outcomes` is None), run the writes again one by one.
        """
        if outcomes is not None:
            try:
                self._cursor.execute("COMMIT")
            except sqlite3.Error:
                self.roll_back()
            else:
                return outcomes
        return self._run_one_by_one(writes)

    def checkpoint(self) -> None:
        """Move what is committed from the log into the database, which is then complete."""
        try:
            self._cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            # the log still holds everything; the next write plans another checkpoint
            log.warning("the checkpoint of %s failed: %s", self._name, error)

    def roll_back(self) -> None:
        """Undo the open transaction, if there is one."""
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def explain(self, error: Exception) -> Exception:
        """Return the error that a caller gets for an error of SQLite."""
        if not isinstance(error, sqlite3.Error):
            return error
        return StoreUnavailable(
            f"{self._name} could not be written ({error}); nothing was changed. "
            "Make room on the disk, or end the program that holds the file locked"
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _run_one_by_one(self, writes: Sequence[Write[Any]]) -> Outcomes:
        """Give each write a transaction of its own, so that it fails alone."""
        outcomes: Outcomes = []
        self._set_timeout(_LOCKED_TIMEOUT)
        for write in writes:
            try:
                (outcome,) = self.run([write])
                self._cursor.execute("COMMIT")
                outcomes.append(outcome)
            except Exception as error:
                self.roll_back()
                outcomes.append(self.explain(error))
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    # one wait is enough for the whole batch
                    self._set_timeout(0)
        self._set_timeout(0)
        return outcomes

    def _set_timeout(self, seconds: float) -> None:
        self._cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
