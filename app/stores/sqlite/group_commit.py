"""Group commit for an SQLite file: writes that arrive together share one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from app.stores.errors import StoreUnavailable
from app.stores.futures import resolve

log = logging.getLogger("latchkey.stores")
T = TypeVar("T")
log = logging.getLogger("latchkey.store")

_LARGEST_BATCH = 256
_COMPANY = 5  # writes in one batch that tell of many clients
_GATHER = 0.003  # seconds that the next batch then has, at most, to grow as big
_LOCKED_FOR = 2.0  # seconds that a write waits for another program to unlock the file
_CHECKPOINT_DELAY = 2.0  # seconds without a write after which a checkpoint is made
_CHECKPOINT_AT_LAST = 60.0  # seconds after which it is made also between writes


class Write(Protocol[T]):
    """What is done for one caller, and what follows."""

    @staticmethod
    def run(cursor: sqlite3.Cursor, writes: Sequence[Any], /) -> Sequence[T | Exception]:
        """Do these writes of one class in the open transaction, and tell what each came to.

        A write that returns an Exception has failed and changed nothing. One that raises undoes
        them all, and each runs again in a transaction of its own. Called on either thread.
        """
        ...

    def over(self, result: T | None) -> None:
        """Hear on the loop that the result is on disk; None where the write failed."""


_Batch = list[tuple[Write[Any], asyncio.Future[Any]]]  # the futures are the callers'
_Outcomes = list[Any]  # for each write of a batch what it returned, or the Exception


class GroupCommit:
    """Runs writes in order of arrival and answers each after the commit that holds it.

    The statements run on the loop's thread, where they cost a few microseconds each in SQLite's
    page cache; the commit, which waits for the disk, runs on the one writer thread, and the
    next writes gather meanwhile. So the two threads meet twice per batch, not per write.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take over `connection` (isolation_level None, usable from another thread).

        `problem` returns a sentence while what is written would be lost; nothing is acknowledged
        then. It is called once per batch.
        """
        self._connection = connection
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._cursor = connection.cursor()
        self._name = name
        self._waiting: _Batch = []
        self._begun: SimpleQueue[tuple[_Batch, _Outcomes | None] | None] = SimpleQueue()
        # an executor would do as well, but hands over at twice the price
        self._thread = Thread(target=self._finish, name=f"commit {name}", daemon=True)
        self._thread.start()
        self._loop: asyncio.AbstractEventLoop
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0  # writes that the batch which is gathering will have
        self._closed = False
        self._idle = asyncio.Event()
        self._problem = problem
        self._lost = False  # `problem` returned a sentence the last time
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._checkpoint_by = self._written = 0.0  # of the loop's clock
        self._checkpoint_due = False

    def submit(self, write: Write[T]) -> asyncio.Future[T]:
        """Queue a write; the future resolves with its result once it is on disk.

        Fails with what the write returned as its error, or with StoreUnavailable where nothing
        of it was written. A caller that is cancelled meanwhile does not take the write back:
        its `over` is called whether or not somebody still waits.
        """
        if not self._busy:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            self._settle([(write, future)], [StoreUnavailable(f"{self._name} is closed")])
            return future
        self._waiting.append((write, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # what else comes in this turn of the loop joins the same transaction
            self._loop.call_soon(self._begin)
        elif self._gathering is not None and len(self._waiting) >= self._expected:
            self._gathering.cancel()
            self._gathering = None
            self._loop.call_soon(self._begin)
        return future

    async def close(self) -> None:
        """Commit what is queued, then close the connection."""
        if self._closed:
            return
        self._closed = True
        if self._checkpoint_timer is not None:
            self._checkpoint_timer.cancel()
        if self._busy:
            await self._idle.wait()
        self._begun.put(None)
        self._thread.join()
        self._connection.close()

    # On the loop

    def _begin(self) -> None:
        batch = self._waiting[:_LARGEST_BATCH]
        del self._waiting[:_LARGEST_BATCH]
        if self._lost and (lost := self._find_problem()):
            self._settle(batch, [lost] * len(batch))
            self._loop.call_soon(self._next)
            return
        outcomes = None
        with contextlib.suppress(Exception):  # the writer thread tries again
            outcomes = self._run(batch)
        self._begun.put((batch, outcomes))

    def _done(self, batch: _Batch, outcomes: _Outcomes) -> None:
        # those who are answered are about to come again, some of them at once; they make one
        # batch with the rest, where otherwise two half ones would take turns
        expected = min(len(batch) + len(self._waiting), _LARGEST_BATCH)
        if batch:
            self._plan_checkpoint()
            if lost := self._find_problem():
                outcomes = [lost] * len(batch)
        self._settle(batch, outcomes)
        if len(batch) >= _COMPANY and len(self._waiting) < expected and not self._closed:
            self._expected = expected
            self._gathering = self._loop.call_later(_GATHER, self._next)
        else:
            self._next()

    def _settle(self, batch: _Batch, outcomes: _Outcomes) -> None:
        for (write, future), outcome in zip(batch, outcomes, strict=True):
            try:  # `logged` would cost 0.3 µs for every write
                write.over(None if isinstance(outcome, Exception) else outcome)
            except Exception:
                log.exception("a step after a write to %s failed", self._name)
            resolve(future, outcome)

    def _next(self) -> None:
        self._gathering = None
        if self._waiting:
            self._begin()
        elif self._checkpoint_due and not self._closed:
            self._checkpoint_due = False
            self._begun.put(([], None))
        else:
            self._busy = False
            self._idle.set()

    def _plan_checkpoint(self) -> None:
        self._written = self._loop.time()
        if self._checkpoint_timer is None and not self._closed:
            self._checkpoint_by = self._written + _CHECKPOINT_AT_LAST
            self._checkpoint_timer = self._loop.call_later(
                _CHECKPOINT_DELAY, self._checkpoint_when_idle
            )

    def _checkpoint_when_idle(self) -> None:
        """Make one when nothing was written for a while, since writes wait for it.

        A busy database makes its own every 1000 pages.
        """
        now = self._loop.time()
        idle_at = min(self._written + _CHECKPOINT_DELAY, self._checkpoint_by)
        if now < idle_at:
            self._checkpoint_timer = self._loop.call_later(
                idle_at - now, self._checkpoint_when_idle
            )
            return
        self._checkpoint_timer = None
        if self._lost:  # it would only change files that somebody may want to look at
            return
        self._checkpoint_due = True
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._next()

    def _find_problem(self) -> StoreUnavailable | None:
        """Return the error for writes that would be lost, and log when that begins and ends."""
        sentence = self._problem()
        if bool(sentence) != self._lost:
            self._lost = bool(sentence)
            if sentence:
                log.error("%s", sentence)
            else:
                log.warning("%s is in its place again", self._name)
        return StoreUnavailable(sentence) if sentence else None

    def _run(self, batch: _Batch) -> _Outcomes:
        cursor = self._cursor
        cursor.execute("BEGIN IMMEDIATE")
        try:
            outcomes: _Outcomes = []
            for _, alike in groupby([write for write, _ in batch], type):
                writes = list(alike)
                outcomes += writes[0].run(cursor, writes)
        except BaseException:
            self._roll_back()
            raise
        return outcomes

    # On the writer thread

    def _finish(self) -> None:
        while (begun := self._begun.get()) is not None:
            batch, outcomes = begun
            try:
                if batch:
                    outcomes = self._commit(batch, outcomes)
                else:
                    self._checkpoint()
                    outcomes = []
            except Exception as error:
                # even the undoing failed: some may be stored, but nobody must count on it
                outcomes = [self._explained(error)] * len(batch)
                with contextlib.suppress(sqlite3.Error):
                    self._roll_back()
            with contextlib.suppress(RuntimeError):  # a loop that is closed: nobody waits
                self._loop.call_soon_threadsafe(self._done, batch, outcomes)

    def _checkpoint(self) -> None:
        """Move what is committed from the log into the database, which is then whole by itself."""
        try:
            self._cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            # all of it is in the log still; the next write plans another one
            log.warning("the checkpoint of %s failed: %s", self._name, error)

    def _commit(self, batch: _Batch, outcomes: _Outcomes | None) -> _Outcomes:
        """Make the open transaction durable; where that fails, or there is none, start anew."""
        if outcomes is not None:
            try:
                self._cursor.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
            else:
                return outcomes
        return self._one_by_one(batch)

    def _one_by_one(self, batch: _Batch) -> _Outcomes:
        """Give each write its own transaction, so that it fails alone."""
        outcomes: _Outcomes = []
        self._cursor.execute(f"PRAGMA busy_timeout = {int(_LOCKED_FOR * 1000)}")
        for queued in batch:
            try:
                (outcome,) = self._run([queued])
                self._cursor.execute("COMMIT")
                outcomes.append(outcome)
            except Exception as error:
                self._roll_back()
                outcomes.append(self._explained(error))
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    # the next ones of this batch need not wait all over again
                    self._cursor.execute("PRAGMA busy_timeout = 0")
        self._cursor.execute("PRAGMA busy_timeout = 0")
        return outcomes

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        return StoreUnavailable(
            f"{self._name} could not be written ({error}); nothing was changed. "
            "Make room on the disk, or end the program that holds the file locked"
        )
