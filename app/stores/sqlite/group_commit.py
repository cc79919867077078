"""Group commit for an SQLite file: writes that arrive together share one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from app.stores.errors import StoreUnavailable
from app.stores.futures import resolve
from app.stores.sqlite.checkpoint_timer import CheckpointTimer
from app.stores.sqlite.file_identity import FileWatch
from app.stores.sqlite.transactions import Outcomes, Transactions, Write

log = logging.getLogger("latchkey.store")
T = TypeVar("T")

_MAX_BATCH = 256  # writes
_BUSY_BATCH = 5  # writes; a batch as large as this comes from many clients
_GATHER_TIMEOUT = 0.003  # seconds for which the batch after a busy one may grow

_Batch = list[tuple[Write[Any], asyncio.Future[Any]]]  # the futures are the callers'


class GroupCommit:
    """Runs writes in order of arrival and answers each after the commit that holds it.

    The statements run on the loop's thread, where they take a few microseconds each in SQLite's
    page cache. The commit, which waits for the disk, runs on one writer thread, while the next
    writes gather. So the threads meet twice per batch, not per write.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, watch: FileWatch) -> None:
        """Take over `connection` (isolation_level None, usable from another thread).

        `watch` tells whether the file is still there; without it nothing is acknowledged.
        """
        self._transactions = Transactions(connection, name)
        self._name = name
        self._watch = watch
        self._waiting: _Batch = []
        self._executed: SimpleQueue[tuple[_Batch, Outcomes | None] | None] = SimpleQueue()
        # an executor would take twice the time to hand a batch over
        self._thread = Thread(target=self._run_thread, name=f"commit {name}", daemon=True)
        self._thread.start()
        self._loop: asyncio.AbstractEventLoop
        self._busy = False  # whether a batch is being written, or about to be
        self._idle = asyncio.Event()
        self._closed = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0  # writes that the batch which is gathering will have
        self._checkpoint_timer = CheckpointTimer(self._request_checkpoint)
        self._checkpoint_due = False

    def submit(self, write: Write[T]) -> asyncio.Future[T]:
        """Queue a write; the future resolves with its result once it is on disk.

        It fails with the error that the write returned, or with StoreUnavailable if nothing of
        it was written. A caller that is cancelled does not take the write back: its `finish` is
        called whether or not it still waits.
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
            # later, so that all writes of this iteration of the loop join the transaction
            self._loop.call_soon(self._execute)
        elif self._gathering is not None and len(self._waiting) >= self._expected:
            self._gathering.cancel()
            self._gathering = None
            self._loop.call_soon(self._execute)
        return future

    async def close(self) -> None:
        """Commit what is queued, then close the connection."""
        if self._closed:
            return
        self._closed = True
        self._checkpoint_timer.cancel()
        if self._busy:
            await self._idle.wait()
        self._executed.put(None)
        self._thread.join()
        self._transactions.close()

    # -- on the loop --

    def _execute(self) -> None:
        """Run the statements of the next batch and hand it to the writer thread."""
        batch = self._waiting[:_MAX_BATCH]
        del self._waiting[:_MAX_BATCH]
        if self._watch.lost and (lost := self._watch.error()):
            self._settle(batch, [lost] * len(batch))
            self._loop.call_soon(self._go_on)
            return
        outcomes = None
        with contextlib.suppress(Exception):  # the writer thread tries again
            outcomes = self._transactions.run([write for write, _ in batch])
        self._executed.put((batch, outcomes))

    def _committed(self, batch: _Batch, outcomes: Outcomes) -> None:
        """Answer the callers of a batch and begin the next one.

        Callers that are answered often write again at once. The next batch waits for them for a
        moment; otherwise two half batches would take turns.
        """
        expected = min(len(batch) + len(self._waiting), _MAX_BATCH)
        if batch:
            if not self._closed:
                self._checkpoint_timer.written(self._loop)
            if lost := self._watch.error():
                outcomes = [lost] * len(batch)
        self._settle(batch, outcomes)
        if len(batch) >= _BUSY_BATCH and len(self._waiting) < expected and not self._closed:
            self._expected = expected
            self._gathering = self._loop.call_later(_GATHER_TIMEOUT, self._go_on)
        else:
            self._go_on()

    def _settle(self, batch: _Batch, outcomes: Outcomes) -> None:
        for (write, future), outcome in zip(batch, outcomes, strict=True):
            try:  # `logged` would cost 0.3 µs for every write
                write.finish(None if isinstance(outcome, Exception) else outcome)
            except Exception:
                log.exception("a step after a write to %s failed", self._name)
            resolve(future, outcome)

    def _go_on(self) -> None:
        """Begin the next batch, or a checkpoint if one is due."""
        self._gathering = None
        if self._waiting:
            self._execute()
        elif self._checkpoint_due and not self._closed:
            self._checkpoint_due = False
            self._executed.put(([], None))
        else:
            self._busy = False
            self._idle.set()

    def _request_checkpoint(self) -> None:
        if (
            self._watch.lost
        ):  # a checkpoint would only change files that an operator may want to look at
            return
        self._checkpoint_due = True
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._go_on()

    # -- on the writer thread --

    def _run_thread(self) -> None:
        while (executed := self._executed.get()) is not None:
            batch, outcomes = executed
            writes = [write for write, _ in batch]
            try:
                if batch:
                    outcomes = self._transactions.commit(writes, outcomes)
                else:
                    self._transactions.checkpoint()
                    outcomes = []
            except Exception as error:
                # even the rollback failed: some may be stored, but no caller may count on it
                outcomes = [self._transactions.explain(error)] * len(batch)
                with contextlib.suppress(sqlite3.Error):
                    self._transactions.roll_back()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._committed, batch, outcomes)
