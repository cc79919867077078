"""Tasks that run beside requests, and how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("latchkey.background")

T = TypeVar("T")
CLEANUP_TIMEOUT = 1.0  # seconds that the clean-up of a fork's coroutine may take
_CANCEL_AGAIN = 0.1  # seconds


class Background:
    """The tasks of one owner: kept until they end, cancelled and awaited when it stops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run this in a task of its own; an exception that it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed task=%s", _name(task), exc_info=error)

    async def stop(self, *, seconds: float = 0.0, cleanup: float = _CANCEL_AGAIN) -> None:
        """Let tasks end by themselves for some `seconds`, then cancel and await the others.

        `cleanup` is that of `cancel_all`.
        """
        if seconds and self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in await cancel_all(self._tasks, cleanup=cleanup):
            log.error("a background task ignores its cancellation task=%s", _name(task))


def _name(task: asyncio.Task[Any]) -> str:
    """Return the name of the coroutine that a task runs."""
    return getattr(task.get_coro(), "__qualname__", task.get_name())


async def cancel_all(
    tasks: Collection[asyncio.Task[Any]], *, seconds: float = 1.0, cleanup: float = _CANCEL_AGAIN
) -> set[asyncio.Task[Any]]:
    """Cancel these tasks and wait for their end; return those that run on after `seconds`.

    A task that swallows its cancellation is cancelled again. First it has `cleanup` seconds, in
    which it may await what its clean-up needs.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + cleanup + seconds
    left = {task for task in tasks if not task.done()}
    while left and loop.time() < deadline:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=cleanup)
        cleanup = _CANCEL_AGAIN
    return left


async def wait_until_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for some seconds; return whether it is set.

    `asyncio.wait_for` is not used: in Python 3.11 it swallows a cancellation that comes in the
    same turn of the loop as the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
