"""Tasks that begin at once, instead of in the next turn of the loop.

A handler that waits for nothing has ended when `Tasks.start` returns, so the next packet of its
client finds what it did. Each handler has a task and a context of its own, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from app.common.background import cancel_all

log = logging.getLogger("latchkey.tasks")

_Loop = asyncio.AbstractEventLoop
_Task = asyncio.Task[None]
_Coroutine = Coroutine[Any, Any, None]
_Ended = Callable[[_Task], None]


if sys.version_info >= (3, 12):

    def _begin(
        coroutine: _Coroutine, loop: _Loop, context: contextvars.Context, ended: _Ended
    ) -> _Task | None:
        task = asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
        if task.done():
            return None
        task.add_done_callback(ended)
        return task
else:
    from app.transport.eager_start import EagerTask

    _begin = EagerTask.begin


class Tasks:
    """Starts the handlers of one application, in the loop that it runs in."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # that of the first task: Python 3.11 needs a system call to find it
        self._loop: _Loop | None = None
        # each with what to call at its end; the loop itself has only weak references to tasks
        self._waiting: dict[_Task, _Ended | None] = {}

    def new_context(self) -> contextvars.Context:
        """Return a context for one task, to set variables in before `start`."""
        return self._context.copy()

    def start(
        self,
        coroutine: _Coroutine,
        done: _Ended | None = None,
        context: contextvars.Context | None = None,
    ) -> bool:
        """Run `coroutine` in a new task until it waits or ends; return whether it waits.

        If it does, `done` is called with the task when that has ended. An exception that the
        coroutine raises is reported to the loop's exception handler. `context` is one of
        `new_context`.
        """
        if context is None:
            context = self._context.copy()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = _begin(coroutine, self._loop, context, self._ended)
        if task is None:
            return False
        self._waiting[task] = done
        return True

    async def stop(self) -> None:
        """Cancel the handlers that still run, and wait for their end."""
        left = await cancel_all(self._waiting, seconds=0.5)
        if left:
            log.error("handlers still run after they were cancelled count=%d", len(left))

    def waiting(self) -> list[_Task]:
        """Return the tasks that have not ended."""
        return list(self._waiting)

    def _ended(self, task: _Task) -> None:
        done = self._waiting.pop(task)
        if done is not None:
            done(task)
