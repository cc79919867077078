"""Tasks that run at once, up to where they first wait, instead of in the next turn of the loop.

Most events finish without waiting; for them the loop is not involved at all. The code that runs
sees an ordinary task: `asyncio.current_task()`, `asyncio.timeout`, cancellation and a context
of its own all work, from its first line on.
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
    ) -> asyncio.Future[None]:
        """Run `coroutine` until it waits or ends; it has to deal with its own exceptions.

        The loop keeps only weak references to tasks, so one that waits must be held on to.
        """
        return asyncio.Task(
            coroutine, loop=loop, context=contextvars.copy_context(), eager_start=True
        )

else:
    from asyncio import futures, tasks

    class _EagerTask(tasks._PyTask):  # type: ignore[name-defined]
        """What `asyncio.Task(eager_start=True)` is from 3.12 on, made of the pure Python task.

        It leans on names that asyncio does not promise, in 3.10 and 3.11 only, where they can no
        longer move: these versions get nothing but security fixes.
        """

        def __init__(
            self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
        ) -> None:
            futures._PyFuture.__init__(self, loop=loop)  # type: ignore[attr-defined]
            self._num_cancels_requested = 0
            self._must_cancel = False
            self._fut_waiter = None
            self._coro = coroutine
            self._name = "event"
            self._context = contextvars.copy_context()
            outer = tasks.current_task(loop)
            if outer is not None:
                tasks._leave_task(loop, outer)
            try:
                self._context.run(self._Task__step)
            finally:
                if outer is not None:
                    tasks._enter_task(loop, outer)
            if not self.done():
                tasks._register_task(self)

    start = _EagerTask
