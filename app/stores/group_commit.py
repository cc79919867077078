"""Group commit for an SQLite file: writes that arrive together share one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from app.stores.base import StoreUnavailable

T = TypeVar("T")
_LARGEST_BATCH = 256
_COMPANY = 5  # writes in one batch that tell of many clients
_GATHER = 0.003  # seconds that the next batch then has, at most, to grow as big
_LOCKED_FOR = 2.0  # seconds that a write waits for another program to unlock the file


class _Job:
    """One write: what to do, who waits for it, what follows, and how it ended."""

    __slots__ = ("after", "error", "future", "result", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], Any],
        future: asyncio.Future[Any],
        after: Callable[[Any], None] | None,
    ) -> None:
        self.work = work
        self.future = future
        self.after = after
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Tell those who wait; runs on the loop."""
        if self.after is not None:
            self.after(self.result if self.error is None else None)
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit:
    """Runs writes in order of arrival and answers each after the commit that holds it.

    The statements run on the loop's thread, where they cost a few microseconds each in SQLite's
    page cache; the commit, which waits for the disk, runs on the one writer thread, and the
    next writes gather meanwhile. So the two threads meet twice per batch, not per write.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        """Take over `connection` (isolation_level None, usable from another thread)."""
        self._connection = connection
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._name = name
        self._waiting: list[_Job] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"commit {name}")
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0  # writes that the batch which is gathering will have
        self._closed = False
        self._idle = asyncio.Event()

    def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        after: Callable[[T | None], None] | None = None,
    ) -> asyncio.Future[T]:
        """Queue a write; the future resolves with its result once it is on disk.

        Fails with StoreUnavailable where nothing of it was written. A caller that is
        cancelled meanwhile does not take the write back; `after` is called on the loop
        with the result once the write is over, with None where it failed, and whether or not
        somebody still waits.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(work, future, after)
        if self._closed:
            job.error = StoreUnavailable(f"{self._name} is closed")
            job.settle()
            return future
        self._waiting.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # what else comes in this turn of the loop joins the same transaction
            loop.call_soon(self._begin)
        elif self._gathering is not None and len(self._waiting) >= self._expected:
            self._gathering.cancel()
            self._gathering = None
            loop.call_soon(self._begin)
        return future

    async def close(self) -> None:
        """Commit what is queued, then close the connection."""
        if self._closed:
            return
        self._closed = True
        if self._busy:
            await self._idle.wait()
        self._thread.shutdown()
        self._connection.close()

    def _begin(self) -> None:
        batch = self._waiting[:_LARGEST_BATCH]
        del self._waiting[:_LARGEST_BATCH]
        try:
            self._run(batch)
        except Exception:
            rest = self._one_by_one
        else:
            rest = self._commit
        done = asyncio.get_running_loop().run_in_executor(self._thread, rest, batch)
        done.add_done_callback(lambda done: self._done(batch, done.exception()))

    def _done(self, batch: list[_Job], error: BaseException | None) -> None:
        if isinstance(error, Exception):
            # even the undoing failed: some of these may be stored, but none must count on it
            for job in batch:
                job.error = job.error or self._explained(error)
            with contextlib.suppress(sqlite3.Error):
                self._roll_back()
        for job in batch:
            job.settle()
        if len(batch) >= _COMPANY and not self._closed:
            # those who were just answered are about to come again; they make one batch with the
            # rest, where otherwise two half ones would take turns
            self._expected = min(len(batch) + len(self._waiting), _LARGEST_BATCH)
            self._gathering = asyncio.get_running_loop().call_later(_GATHER, self._next)
        else:
            self._next()

    def _next(self) -> None:
        self._gathering = None
        if self._waiting:
            self._begin()
        else:
            self._busy = False
            self._idle.set()

    def _run(self, batch: list[_Job]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in batch:
                job.result = job.work(self._connection)
        except BaseException:
            self._roll_back()
            raise

    def _commit(self, batch: list[_Job]) -> None:
        """Make the open transaction durable; runs on the writer thread."""
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            self._one_by_one(batch)

    def _one_by_one(self, batch: list[_Job]) -> None:
        """Give each write its own transaction, so that it fails alone; on the writer thread."""
        self._connection.execute(f"PRAGMA busy_timeout = {int(_LOCKED_FOR * 1000)}")
        for job in batch:
            try:
                self._run([job])
                self._connection.execute("COMMIT")
            except Exception as error:
                self._roll_back()
                job.error = self._explained(error)
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    # the next ones of this batch need not wait all over again
                    self._connection.execute("PRAGMA busy_timeout = 0")
        self._connection.execute("PRAGMA busy_timeout = 0")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        return StoreUnavailable(
            f"{self._name} could not be written ({error}); nothing was changed. "
            "Make room on the disk, or end the program that holds the file locked"
        )
