"""Tasks that begin at once on Python 3.11, as `eager_start` has them from 3.12 on.

Python documents the names with an underscore: `_enter_task` and `_leave_task` in "Extending
asyncio", `_asyncio_future_blocking` at `asyncio.isfuture`. Delete this file with Python 3.11.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from asyncio import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from typing import Any


def begin(
    coroutine: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
) -> tuple[asyncio.Task[None], bool]:
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
def _steps(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
    """Take a coroutine's first step for `begin`, and the others when the task asks for them."""
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
