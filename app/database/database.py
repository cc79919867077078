"""The database of one process: its engine, and the threads that run jobs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.common.rate_limited_log import RateLimitedLog
from app.database.engine import not_opened, open_engine, reading, with_timeout, writing
from app.database.errors import DatabaseUnavailable, is_lost_connection, is_outage, reason
from app.database.job import GivenUp, Job
from app.database.migrations import migrate
from app.database.schema import Schema
from app.database.sqlite import checkpoint
from app.database.workers import QueueFull, Workers, WorkersClosed
from app.settings import Settings

log = logging.getLogger("latchkey.database")
T = TypeVar("T")

_THREADS = 4
_MAX_QUEUE = 200  # jobs that may wait for a thread
_JOB_TIMEOUT = 5.0  # seconds for a job that has a thread
_BUSY = "Too many requests wait for the database. Try again in a moment."
_CLOSED = "The database is closed, because this process of the site is stopping."
_NO_ANSWER = "The database does not answer; try again in a moment."
_TOO_SLOW = "The database took too long; try again in a moment."


class Database:
    """The database of --database, in which the accounts and a fork's own tables are.

    Jobs have threads and connections of their own, so that slow ones delay neither the event loop
    nor a sign-in.
    """

    def __init__(
        self, settings: Settings, schemas: Sequence[Schema] = (), *, connections: int = 0
    ) -> None:
        """Open the database, and make or migrate its tables; it may wait for another process.

        `connections` are those that others may use besides. Raises SchemaError, or OSError with a
        sentence that says what to do.
        """
        self.settings = settings
        self.engine = open_engine(settings, connections=connections + _THREADS)
        try:
            migrate(self.engine, schemas)
        except SQLAlchemyError as error:
            self.engine.dispose()
            raise not_opened(settings, error) from error
        except BaseException:
            self.engine.dispose()
            raise
        # an application that cannot be built is never closed, only freed
        weakref.finalize(self, self.engine.dispose).atexit = False
        #: The threads of jobs; metrics show what they do.
        self.workers = Workers("database", threads=_THREADS, max_queue=_MAX_QUEUE, share=_MAX_QUEUE)
        # in a thread of its own, because no call waits for a checkpoint
        self._checkpoints = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running: set[Job[Any]] = set()
        self._failures = RateLimitedLog(log)
        self._failed_at = -1.0  # loop time at which the database was last out of reach

    async def run(self, job: Callable[[sa.Connection], T], *, seconds: float | None = None) -> T:
        """Run a plain function in a transaction, in a thread; return its result.

        The transaction is committed when the function returns, and rolled back if it raises or
        if the caller is cancelled. On SQLite jobs that write run one after the other; on
        PostgreSQL they run at the same time, at READ COMMITTED: lock the rows that you read and
        then change by `with_for_update()`.

        The job may take `seconds`, 5 by default; without this argument each statement may take
        1.5 seconds on PostgreSQL. Raises DatabaseUnavailable if the database is down, the time is
        over, too many jobs wait or the site has stopped, and then nothing is stored; raises what
        the function raises, such as `sqlalchemy.exc.IntegrityError`.
        """
        return await self._run(job, self.writing, seconds)

    async def read(self, job: Callable[[sa.Connection], T], *, seconds: float | None = None) -> T:
        """Run a function that only reads, as `run` does; it never waits for others who write.

        The database refuses what it tries to write.
        """
        return await self._run(job, lambda: reading(self.engine), seconds)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction in a thread, and commit it at the end; raises SQLAlchemyError."""
        with writing(self.engine) as connection:
            yield connection
        if self.engine.dialect.name == "sqlite":
            self._checkpoints.submit(checkpoint, self.engine)

    async def close(self) -> None:
        """Roll back the jobs that run, and close the connections."""
        for job in self._running:
            job.give_up()
        await self.workers.close()
        await asyncio.get_running_loop().run_in_executor(None, self._checkpoints.shutdown)
        self.engine.dispose()

    async def _run(
        self,
        work: Callable[[sa.Connection], T],
        transaction: Callable[[], AbstractContextManager[sa.Connection]],
        seconds: float | None,
    ) -> T:
        if inspect.iscoroutinefunction(work):
            raise TypeError(f"{work.__name__} is a coroutine function; a job is a plain function")
        loop = asyncio.get_running_loop()
        began = loop.time()
        if seconds is not None:
            transaction = functools.partial(with_timeout, transaction, seconds)
        try:
            async with self.workers.turn(""):
                if self._failed_at >= began:
                    # the queued jobs fail at once instead of waiting one after the other
                    raise DatabaseUnavailable(_NO_ANSWER)
                return await self._in_thread(Job(work, transaction), seconds or _JOB_TIMEOUT)
        except QueueFull:
            raise DatabaseUnavailable(_BUSY) from None
        except WorkersClosed:
            raise DatabaseUnavailable(_CLOSED) from None
        except GivenUp:
            raise DatabaseUnavailable(_TOO_SLOW) from None
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            if is_lost_connection(error):
                self._failed_at = loop.time()
            self.workers.errors["failed"] += 1
            self._log_failure(reason(error))
            raise DatabaseUnavailable(_NO_ANSWER) from error

    async def _in_thread(self, job: Job[T], seconds: float) -> T:
        """Run a job in a thread; raises GivenUp if it takes longer."""
        running = self.workers.run(job.run)
        self._running.add(job)
        try:
            done, _ = await asyncio.wait({running}, timeout=seconds)
            if not done and job.give_up():
                running.add_done_callback(_ignore)
                self.workers.errors["timeout"] += 1
                self._log_failure(f"no result within {seconds:g} s")
                raise GivenUp
            return await running
        except asyncio.CancelledError:
            job.give_up()
            running.add_done_callback(_ignore)
            raise
        finally:
            self._running.discard(job)

    def _log_failure(self, why: str) -> None:
        self._failures.add("a job of the database failed", why)


def _ignore(running: asyncio.Future[Any]) -> None:
    """Take the error of a job whose caller has gone."""
    if not running.cancelled():
        running.exception()
