"""Tasks that run at once, up to where they first wait, instead of in the next turn of the loop.

Most events finish without waiting; for them the loop has next to nothing to do. The code that
runs sees an ordinary task: `asyncio.current_task()`, `asyncio.timeout`, cancellation and a
context of its own all work, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any

if sys.version_info >= (3, 12):

    def start(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[None] | None:
        """Run `coroutine` until it waits or ends; it has to deal with its own exceptions.

        Returns the task of one that waits, which must be held on to, since the loop itself
        keeps only weak references.
        """
        task = asyncio.Task(
            coroutine, loop=loop, context=contextvars.copy_context(), eager_start=True
        )
        return None if task.done() else task

else:
    from asyncio.tasks import _enter_task, _leave_task, current_task

    class _Begun(Coroutine[Any, Any, None]):
        """A coroutine that was run up to where it waits, for a task to go on with.

        The task's first step is told what is waited for; a cancellation goes to the coroutine.
        """

        __slots__ = ("_coroutine", "_ended", "_told", "_waited")

        def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
            self._coroutine = coroutine
            self._ended = False
            self._told = False
            self._waited: Any = None

        def begin(self, context: contextvars.Context) -> bool:
            """Run the first part; return whether the coroutine waits for something."""
            try:
                self._waited = context.run(self._coroutine.send, None)
            except StopIteration:
                self._ended = True
            return not self._ended

        def send(self, value: Any) -> Any:
            if self._told:
                return self._coroutine.send(value)
            if self._ended:
                raise StopIteration
            self._told = True
            waited, self._waited = self._waited, None
            return waited

        def throw(self, *error: Any) -> Any:
            if self._ended:
                raise StopIteration
            self._told, self._waited = True, None
            return self._coroutine.throw(*error)

        def close(self) -> None:
            self._coroutine.close()

        def __await__(self) -> Any:
            raise TypeError("this is for a task alone")

    def start(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[None] | None:
        """Run `coroutine` until it waits or ends; it has to deal with its own exceptions.

        Returns the task of one that waits, which must be held on to, since the loop itself
        keeps only weak references. (What `eager_start` is from Python 3.12 on.)
        """
        begun = _Begun(coroutine)
        context = contextvars.copy_context()
        task = asyncio.Task(begun, loop=loop, context=context)
        outer = current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        _enter_task(loop, task)
        try:
            waits = begun.begin(context)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        return task if waits else None
