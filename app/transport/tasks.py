"""Tasks that begin at once, instead of in the next turn of the loop.

A handler that waits for nothing has ended when `Tasks.start` returns, so the next packet of its
client finds what it did. Each handler has a task and a context of its own, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from app.common.background import cancel_all

log = logging.getLogger("latchkey.tasks")

_Loop = asyncio.AbstractEventLoop
_Task = asyncio.Task[None]
_Coroutine = Coroutine[Any, Any, None]


if sys.version_info >= (3, 12):

    def _begin(coroutine: _Coroutine, loop: _Loop, context: contextvars.Context) -> _Task | None:
        task = asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
        return None if task.done() else task

    _call_when_ended = asyncio.Task.add_done_callback
else:
    from app.transport.eager_start import EagerTask

    _begin = EagerTask.begin
    _call_when_ended = EagerTask.call_when_ended


class Tasks:
    """Starts the handlers of one application, in the loop that it runs in."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # that of the first task: Python 3.11 needs a system call to find it
        self._loop: _Loop | None = None
        # the loop itself has only weak references to tasks
        self._waiting: dict[_Task, tuple[_Coroutine, Callable[[_Task], None] | None]] = {}

    def new_context(self) -> contextvars.Context:
        """Return a context for one task, to set variables in before `start`."""
        return self._context.copy()

    def start(
        self,
        coroutine: _Coroutine,
        done: Callable[[_Task], None] | None = None,
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
        task = _begin(coroutine, self._loop, context)
        if task is None:
            return False
        self._waiting[task] = coroutine, done
        _call_when_ended(task, self._ended)
        return True

    async def stop(self) -> None:
        """Cancel the handlers that still run, and wait for their end."""
        left = await cancel_all(self._waiting, seconds=0.5)
        if left:
            log.error("handlers still run after they were cancelled count=%d", len(left))

    def waiting(self) -> Mapping[_Task, _Coroutine]:
        """Return the tasks that have not ended, and the coroutine that each of them runs."""
        return {task: coroutine for task, (coroutine, _) in self._waiting.items()}

    def _ended(self, task: _Task) -> None:
        _, done = self._waiting.pop(task)
        if done is not None:
            done(task)
