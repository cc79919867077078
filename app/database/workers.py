"""Worker threads with a bounded queue, and a share of it for each address."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turns = asyncio.Semaphore(threads)
        self._max_calls = max_queue + threads
        self._share = share
        self._closed = False
        self._calls = 0
        self._of_address: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a free thread; raises QueueFull or ShareUsed at once if the call cannot wait.

        Raises WorkersClosed after `close`, also for calls that wait then. An empty address is a
        caller that is no client, and has no limit.
        """
        if address and self._of_address[address] >= self._share:
            raise ShareUsed
        if self._calls >= self._max_calls:
            raise QueueFull
        self._calls += 1
        self._of_address[address] += 1
        try:
            async with self._turns:
                if self._closed:
                    raise WorkersClosed
                yield
        finally:
            self._calls -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def run(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run a job in a thread; call it inside of `turn`."""
        return asyncio.get_running_loop().run_in_executor(self._pool, job)

    async def close(self) -> None:
        """Refuse the calls that wait, and wait for the calls that run."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
