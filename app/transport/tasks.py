"""Tasks that begin at once, instead of in the next turn of the loop.

Most events and requests end without waiting for anything; they are answered in the turn of the
loop that read them. Each runs in a task and a context of its own, from its first line on.
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

    @functools.cached_property
    def _loop(self) -> _Loop:
        """The loop of the first task; Python 3.11 needs a system call to find it."""
        return asyncio.get_running_loop()

    def start(
        self,
        coroutine: Coroutine[Any, Any, None],
        done: Callable[[_Task], None] | None = None,
    ) -> bool:
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

    def _ended(self, task: _Task) -> None:
        _, done = self._waiting.pop(task)
        if done is not None:
            done(task)

    def waiting(self) -> Mapping[_Task, _Coroutine]:
        """Return the tasks that have not ended, and the coroutine that each of them runs."""
        return {task: coroutine for task, (coroutine, _) in self._waiting.items()}


if sys.version_info >= (3, 12):

    def _begin(
        coroutine: Coroutine[Any, Any, None], loop: _Loop, context: contextvars.Context
    ) -> tuple[_Task, bool]:
        task = asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
        return task, not task.done()

else:
    # asyncio starts tasks eagerly from Python 3.12 on. Before that, the functions that its
    # documentation gives to task implementations of others ("Extending asyncio") make a task
    # the current one.
    from asyncio import _enter_task, _leave_task

    def _begin(
        coroutine: Coroutine[Any, Any, None], loop: _Loop, context: contextvars.Context
    ) -> tuple[_Task, bool]:
        """Run the coroutine's first step in a new task; return that, and whether it waits."""
        begun: Any = _begun(coroutine)
        task = asyncio.Task(begun, loop=loop, context=context)
        outer = asyncio.current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        _enter_task(loop, task)
        try:
            waits = context.run(begun.send, None)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        if waits:
            begun.__qualname__ = getattr(coroutine, "__qualname__", "")  # shown with the task
        return task, waits


@types.coroutine
def _begun(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
    """Run a coroutine: its first step for `_begin`, which is told whether it waits.

    The task takes its own first step in the next turn of the loop. It is then told what the
    coroutine waits for, or how it ended. Every later step is one of the coroutine.
    """
    try:
        waited = coroutine.send(None)
    except BaseException as end:
        try:  # noqa: SIM105 (0.4 µs for every event)
            yield False
        except asyncio.CancelledError:
            pass  # too late
        if isinstance(end, StopIteration):
            return
        raise
    future = waited if asyncio.isfuture(waited) else None
    if future is not None:
        # the mark of an `await`: others may await this future before the task sees it
        future._asyncio_future_blocking = False
    error: BaseException | None = None
    try:
        yield True
    except asyncio.CancelledError as cancelled:
        error = cancelled
        if future is not None:
            future.cancel(*cancelled.args)
    if future is None and waited is not None:
        error = yield from _outcome(waited)  # the task says that this cannot be awaited
    elif future is not None and not future.done():
        future._asyncio_future_blocking = True
        error = yield from _outcome(future)
    while error is not None:
        try:
            waited = coroutine.throw(error)
        except StopIteration:
            return
        finally:
            error = None  # whose traceback refers to this frame
        error = yield from _outcome(waited)
    yield from coroutine.__await__()


def _outcome(waited: Any) -> Generator[Any, None, BaseException | None]:
    """Have the task wait for this; return what that fails with, or the task's cancellation."""
    try:
        yield waited
    except BaseException as error:
        return error
    return None
