"""Worker threads with a bounded queue, and a share of it for each address."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from app.common.histogram import Histogram

T = TypeVar("T")


class QueueFull(Exception):
    """The queue is full."""


class WorkersClosed(Exception):
    """The threads have stopped, or are stopping."""


class ShareUsed(Exception):
    """The share of one address is used."""


class Workers:
    """Threads that run jobs, and the queue of the calls that wait for a thread."""

    def __init__(self, name: str, *, threads: int, max_queue: int, share: int) -> None:
        """At most `max_queue` calls wait, and at most `share` calls of one address run or wait."""
        self.name = name
        #: Called with the name, and the future of each call that gets a thread, unless None.
        self.on_call: Callable[[str, asyncio.Future[Any]], None] | None = None
        self.threads = threads
        #: How long calls took, with the wait for a thread.
        self.seconds = Histogram()
        #: Calls that failed: "busy" is a full queue, "failed" the database, "timeout" a slow one.
        self.errors = Counter({"busy": 0, "failed": 0, "timeout": 0})
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turns = asyncio.Semaphore(threads)
        self._max_calls = max_queue + threads
        self._share = share
        self._closed = False
        self._calls = 0
        self._of_address: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many calls have a thread."""
        return min(self._calls, self.threads)

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._calls - self.running

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a free thread; raises QueueFull or ShareUsed at once if the call cannot wait.

        Raises WorkersClosed after `close`, also for calls that wait then. An empty address is a
        caller that is no client, and has no limit.
        """
        if address and self._of_address[address] >= self._share:
            raise ShareUsed
        if self._calls >= self._max_calls:
            self.errors["busy"] += 1
            raise QueueFull
        began = perf_counter()
        self._calls += 1
        self._of_address[address] += 1
        try:
            async with self._turns:
                if self._closed:
                    raise WorkersClosed
                yield
        finally:
            self.seconds.observe(perf_counter() - began)
            self._calls -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def run(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run a job in a thread; call it inside of `turn`."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        if self.on_call is not None:
            self.on_call(self.name, future)
        return future

    async def close(self) -> None:
        """Refuse the calls that wait, and wait for the calls that run."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
