"""Tasks that run at once, up to where they first wait, instead of in the next turn of the loop.

Most events finish without waiting; for them the loop has next to nothing to do. The code that
runs sees an ordinary task: `asyncio.current_task()`, `asyncio.timeout`, cancellation and a
context of its own all work, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any

if sys.version_info < (3, 12):
    # the dict behind `_enter_task` and `_leave_task`, at a third of their price
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]


class _Begun:
    """A coroutine that was run up to where it waits, for a task to go on with.

    The task's first step is told what is waited for; a cancellation goes to the coroutine.
    Until there is a coroutine that waits, the task is spare: its first step ends it.
    """

    __slots__ = ("_coroutine", "_waited", "blank", "context", "over", "send", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._waited: Any = None
        self.send: Callable[[Any], Any] = self._first
        self.over = False  # the spare task has ended
        self.context = contextvars.copy_context()
        self.blank = self.context.copy()
        self.task: asyncio.Task[None] = asyncio.Task(
            self,
            loop=loop,
            context=self.context,
        )

    def go_on(self, coroutine: Coroutine[Any, Any, None], waited: Any) -> None:
        """Let the task take over a coroutine that waits for this."""
        self._coroutine, self._waited = coroutine, waited

    def _end(self) -> None:
        """Let go of the spare task: both ways only the garbage collector would find them."""
        self.over = True
        del self.send, self.task

    def _first(self, value: Any) -> Any:
        """Answer the task's first step; from then on it talks to the coroutine."""
        if self._coroutine is None:
            self._end()
            raise StopIteration
        self.send = self._coroutine.send
        waited, self._waited = self._waited, None
        return waited

    def throw(self, *error: Any) -> Any:
        if self._coroutine is None:
            self._end()
            raise StopIteration
        self.send, self._waited = self._coroutine.send, None
        return self._coroutine.throw(*error)

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("this is for a task alone")


Coroutine.register(_Begun)


class Tasks:
    """Starts the handlers of one application, in the loop that it runs in."""

    __slots__ = ("_loop", "_spare")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # asking for the one that runs is a system call in Python 3.11
        self._spare: _Begun | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[None] | None:
        """Run `coroutine` until it waits or ends; it has to deal with its own exceptions.

        Returns the task of one that waits, which must be held on to, since the loop itself
        keeps only weak references. Before Python 3.12, those that end without waiting share a
        task within one turn of the loop.
        """
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, context=contextvars.copy_context(), eager_start=True)
            return None if task.done() else task
        # by hand, what `eager_start` does from Python 3.12 on
        loop = self._loop
        begun = self._spare
        if begun is None or begun.over:
            begun = _Begun(loop)
        self._spare = None  # what this one starts in its turn needs a task of its own
        task = begun.task
        outer = _current_tasks.get(loop)
        _current_tasks[loop] = task
        try:
            waited = begun.context.run(coroutine.send, None)
        except StopIteration:
            if not begun.over and begun.context == begun.blank and not task.cancelling():
                self._spare = begun  # the next one will find no trace of this one
            return None
        finally:
            if outer is None:
                del _current_tasks[loop]
            else:
                _current_tasks[loop] = outer
        begun.go_on(coroutine, waited)
        del begun.task  # or they would hold each other
        return task
