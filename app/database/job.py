"""A function that runs in a transaction, in a thread, for a caller who may give up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class GivenUp(Exception):
    """The caller waits no longer, so the transaction is rolled back."""


class Job(Generic[T]):
    """Runs a function once. Either its caller gets the result, or it is not committed."""

    def __init__(
        self,
        work: Callable[[sa.Connection], T],
        transaction: Callable[[], AbstractContextManager[sa.Connection]],
    ) -> None:
        self._work = work
        self._transaction = transaction
        self._lock = threading.Lock()
        self._given_up = self._commits = False
        self._interrupt: Callable[[], None] | None = None

    def run(self) -> T:
        """Run in this thread, and commit; raises what the function raises, or GivenUp."""
        with self._transaction() as connection, self._interruptible(connection):
            result = self._work(connection)
            if isinstance(result, sa.Result) and _has_rows(result):
                raise TypeError(
                    "a job returned a result whose connection is closed; "
                    "return result.all(), .first() or .scalar() instead"
                )
            with self._lock:
                if self._given_up:
                    raise GivenUp
                self._commits = True
        return result

    def give_up(self) -> bool:
        """Roll back soon; return False if the function has ended and is being committed."""
        with self._lock:
            if self._commits:
                return False
            self._given_up = True
            if self._interrupt is not None:
                self._interrupt()
        return True

    @contextlib.contextmanager
    def _interruptible(self, connection: sa.Connection) -> Iterator[None]:
        """Let `give_up` interrupt a statement; of PostgreSQL the statement timeout does that."""
        driver: Any = connection.connection.driver_connection
        with self._lock:
            if self._given_up:
                raise GivenUp
            self._interrupt = getattr(driver, "interrupt", None)
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None


def _has_rows(result: sa.Result[Any]) -> bool:
    """Whether a result is that of a SELECT, or of a statement with RETURNING."""
    return not isinstance(result, sa.CursorResult) or result.returns_rows
