"""Tasks that begin at once, instead of in the next turn of the loop.

A handler that waits for nothing has ended when `Tasks.start` returns, so the next packet of its
client finds what it did. Each handler has a task and a context of its own, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

from app.common.background import cancel_all

log = logging.getLogger("latchkey.tasks")

_Loop = asyncio.AbstractEventLoop
_Task = asyncio.Task[None]
_Coroutine = Coroutine[Any, Any, None]


class Tasks:
    """Starts the handlers of one application, in the loop that it runs in."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # the loop itself has only weak references to tasks
        self._waiting: dict[_Task, tuple[_Coroutine, Callable[[_Task], None] | None]] = {}

    def start(self, coroutine: _Coroutine, done: Callable[[_Task], None] | None = None) -> bool:
        """Run `coroutine` in a new task until it waits or ends; return whether it waits.

        If it does, `done` is called with the task when that has ended. An exception that the
        coroutine raises is reported to the loop's exception handler.
        """
        task, waits = _begin(coroutine, self._loop, self._context.copy())
        if waits:
            self._waiting[task] = coroutine, done
            task.add_done_callback(self._ended)
        return waits

    async def stop(self) -> None:
        """Cancel the handlers that still run, and wait for their end."""
        left = await cancel_all(self._waiting, seconds=0.5)
        if left:
            log.error("handlers still run after they were cancelled count=%d", len(left))

    def waiting(self) -> Mapping[_Task, _Coroutine]:
        """Return the tasks that have not ended, and the coroutine that each of them runs."""
        return {task: coroutine for task, (coroutine, _) in self._waiting.items()}

    @functools.cached_property
    def _loop(self) -> _Loop:
        """The loop of the first task; Python 3.11 needs a system call to find it."""
        return asyncio.get_running_loop()

    def _ended(self, task: _Task) -> None:
        _, done = self._waiting.pop(task)
        if done is not None:
            done(task)


if sys.version_info >= (3, 12):

    def _begin(
        coroutine: _Coroutine, loop: _Loop, context: contextvars.Context
    ) -> tuple[_Task, bool]:
        task = asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
        return task, not task.done()

else:
    # The names with an underscore are in Python's documentation: these two in "Extending
    # asyncio", for those who run steps of tasks, and the mark of an `await` at `asyncio.isfuture`.
    from asyncio import _enter_task, _leave_task

    def _begin(
        coroutine: _Coroutine, loop: _Loop, context: contextvars.Context
    ) -> tuple[_Task, bool]:
        """Take the coroutine's first step in a new task; return that, and whether it waits."""
        steps: Any = _steps(coroutine)
        task = asyncio.Task(steps, loop=loop, context=context)
        outer = asyncio.current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        _enter_task(loop, task)
        try:
            waits = context.run(steps.send, None)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        if waits:
            steps.__qualname__ = getattr(coroutine, "__qualname__", "")  # shown with the task
        return task, waits


@types.coroutine
def _steps(coroutine: _Coroutine) -> Generator[Any, None, None]:
    """Take a coroutine's first step for `_begin`, and the others when the task asks for them."""
    try:
        awaited = coroutine.send(None)
    except BaseException as end:
        try:  # noqa: SIM105 (0.4 µs for every event)
            yield False
        except asyncio.CancelledError:
            pass  # too late
        if isinstance(end, StopIteration):
            return
        raise
    error: BaseException | None = None
    if asyncio.isfuture(awaited):
        awaited._asyncio_future_blocking = False  # others may await it before the task does
    try:
        yield True
    except asyncio.CancelledError as cancelled:
        if not (asyncio.isfuture(awaited) and awaited.cancel(*cancelled.args)):
            error, awaited = cancelled, None
    if asyncio.isfuture(awaited):
        awaited._asyncio_future_blocking = True
    if awaited is not None:
        error = yield from _outcome(awaited)
    while error is not None:
        try:
            awaited = coroutine.throw(error)
        except StopIteration:
            return
        finally:
            error = None  # whose traceback refers to this frame
        error = yield from _outcome(awaited)
    yield from coroutine.__await__()


def _outcome(awaited: Any) -> Generator[Any, None, BaseException | None]:
    """Have the task wait for this; return what that fails with, or the task's cancellation."""
    try:
        yield awaited  # the task raises here if this cannot be awaited
    except BaseException as error:
        return error
    return None
