"""One writer thread for an SQLite file: writes that arrive together share one transaction."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from app.stores.base import StoreUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
_LARGEST_BATCH = 256


class _Job:
    """One write: what to do, who waits for it, and how it ended."""

    __slots__ = ("after", "error", "future", "loop", "result", "work")

    def __init__(
        self, work: Work, future: asyncio.Future[Any], after: Callable[[], None] | None
    ) -> None:
        self.work = work
        self.future = future
        self.after = after
        self.loop = future.get_loop()
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        if self.after is not None:
            self.after()
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit:
    """Runs writes in order of arrival and answers each after the commit that holds it.

    While one transaction is being committed the next writes gather, so that a disk which
    syncs 200 times a second still takes thousands of writes (group commit).
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        """Take over `connection` (isolation_level None, usable from another thread)."""
        self._connection = connection
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"commit {name}", daemon=True)
        self._thread.start()
        self._closed = False

    def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        after: Callable[[], None] | None = None,
    ) -> asyncio.Future[T]:
        """Queue a write; the future resolves with its result once it is on disk.

        Fails with StoreUnavailable where nothing of it was written. A caller that is
        cancelled meanwhile does not take the write back; `after` runs on the loop once the
        write is over, however it ended and whether or not somebody still waits.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            job = _Job(work, future, after)
            job.error = StoreUnavailable(f"{self._name} is closed")
            job.settle()
        else:
            self._jobs.put(_Job(work, future, after))
        return future

    async def close(self) -> None:
        """Commit what is queued, then close the connection."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_:
            first = self._jobs.get()
            batch = [] if first is None else [first]
            open_ = first is not None
            while open_ and len(batch) < _LARGEST_BATCH:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    open_ = False
                else:
                    batch.append(job)
            if batch:
                self._commit(batch)
                self._answer(batch)
        self._connection.close()

    def _commit(self, batch: list[_Job]) -> None:
        """Run all in one transaction; where one fails, each in its own, so that it fails alone."""
        try:
            self._transaction(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = self._explained(error)
            else:
                for job in batch:
                    self._commit([job])

    def _transaction(self, batch: list[_Job]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in batch:
                job.result = job.work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        return StoreUnavailable(
            f"{self._name} could not be written ({error}); nothing was changed. "
            "Make room on the disk, or end the program that holds the file locked"
        )

    @staticmethod
    def _answer(batch: list[_Job]) -> None:
        def settle() -> None:
            for job in batch:
                job.settle()

        try:
            # one wake-up of the loop for the whole batch
            batch[0].loop.call_soon_threadsafe(settle)
        except RuntimeError:
            # the loop is closed: nobody is left to be told
            return
