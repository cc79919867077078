"""Tasks that run at once, up to where they first wait, instead of in the next turn of the loop.

Most events finish without waiting; for them the loop has nothing to do. The code that runs sees
an ordinary task: `asyncio.current_task()`, `asyncio.timeout`, cancellation and a context of its
own all work, from its first line on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from app.handoff import Handoff

if sys.version_info < (3, 12):
    # the dict behind `_enter_task` and `_leave_task`, at a third of their price
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]


def step_in_python(
    ended: object,
    current_tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[None]],
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[None],
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, None],
) -> Any:
    """Run a coroutine in this context as this task, up to where it next waits.

    Returns what it waits for, or `ended`.
    """
    outer = current_tasks.get(loop)
    current_tasks[loop] = task
    try:
        return context.run(coroutine.send, None)
    except StopIteration:
        return ended
    finally:
        if outer is None:
            del current_tasks[loop]
        else:
            current_tasks[loop] = outer


try:
    from app.transport._first_step import first_step
except ImportError:  # installed where there was no compiler
    first_step = step_in_python

# tasks that wait for work, of about two kilobytes each; none where `park` could not tell
_MOST_PARKED = 256 if hasattr(sys, "getrefcount") else 0
_NOTHING = object()
_EAGER = sys.version_info >= (3, 12)


def _raise(error: BaseException) -> NoReturn:
    raise error


class _Worker:
    """What a task runs: one coroutine after the other, each from where it first waited.

    As long as a coroutine waits for plain futures and `Handoff`s alone, the task itself is parked:
    it waits for `_call`, and is the current one whenever the coroutine goes on, which `_resume`
    sees to. For whatever else is waited for it is called, and so it is by a cancellation, which
    goes to the coroutine; without one it ends the task.
    """

    __slots__ = (
        "_call",
        "_coroutine",
        "_done",
        "_future",
        "_tasks",
        "_waited",
        "context",
        "known",
        "retired",
        "step",
        "task",
    )

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._call: asyncio.Future[None] | None = None
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._done: Callable[[object], None] | None = None
        self._future: asyncio.Future[Any] | None = None  # that `_resume` waits for
        self._waited: Any = _NOTHING  # what the task is to wait for
        self.retired = False
        self.context = tasks.blank.copy()
        self.task: asyncio.Task[None] = asyncio.Task(self, loop=tasks.loop, context=self.context)
        tasks.hold(self.task)
        #: let a coroutine go on as this task; returns what it waits for, or _NOTHING
        self.step: Callable[[Coroutine[Any, Any, None]], Any] = functools.partial(
            first_step, _NOTHING, _current_tasks, tasks.loop, self.task, self.context
        )
        #: how many references there are to the task while no handler keeps one
        self.known = sys.getrefcount(self.task) if _MOST_PARKED else 0

    def interrupted(self) -> bool:
        """Tell whether a cancellation is on its way: to `throw`, in the task's next step."""
        call = self._call
        # the task has not had its first step, or `call` is what it waits for
        return self.task._must_cancel or (call is not None and call.done())  # type: ignore[attr-defined]

    def go_on(
        self,
        coroutine: Coroutine[Any, Any, None],
        waited: Any,
        done: Callable[[object], None] | None,
    ) -> None:
        """Go on with a coroutine that waits for this, and call `done` when it has ended."""
        self._coroutine, self._done = coroutine, done
        if type(waited) is Handoff:  # spares most of them a call
            waited.taker = self._resume
            waited._asyncio_future_blocking = False
            self._future = waited
        else:
            self._wait_for(waited)

    def _wait_for(self, waited: Any) -> None:
        if type(waited) is Handoff:
            waited.taker = self._resume
        elif type(waited) is asyncio.Future and waited.get_loop() is self._tasks.loop:
            waited.add_done_callback(self._resume, context=self._tasks.blank)
        else:
            self._waited = waited
            self._wake()
            return
        waited._asyncio_future_blocking = False  # as a task does
        self._future = waited

    def _resume(self, future: asyncio.Future[Any]) -> None:
        """Go on with the coroutine, whose future is done."""
        call = self._call
        if (
            future is not self._future
            or self.task._must_cancel  # type: ignore[attr-defined]
            or (call is not None and call.done())  # what `interrupted` says, without a call
        ):
            return  # a cancellation was quicker: `throw` does the rest
        self._future = None
        try:
            step = self.step
            waited = step(self._coroutine)  # type: ignore[arg-type]  # which waits for it
            if waited is not _NOTHING:
                self._wait_for(waited)
                return
            self._end()
        except BaseException as error:
            self._end()
            self.retire()
            if not isinstance(error, asyncio.CancelledError):
                # for the loop to deal with, and not for who is at work here
                self._tasks.loop.call_soon(_raise, error)
            return
        if not self._tasks.park(self):
            self.retire()

    def retire(self) -> None:
        """Let the task end."""
        self.retired = True
        self._wake()

    def _wake(self) -> None:
        call, self._call = self._call, None
        if call is not None and not call.done():  # or it was cancelled just now
            call.set_result(None)

    def send(self, value: Any) -> Any:
        """Answer a step of the task."""
        coroutine = self._coroutine
        if coroutine is None or self._future is not None:
            return self._wait()
        if self._waited is not _NOTHING:
            waited, self._waited = self._waited, _NOTHING
            return waited
        try:
            return coroutine.send(value)
        except StopIteration:
            return self._next()
        except BaseException:
            self._end()
            raise

    def throw(self, error: Any, *_: Any) -> Any:
        """Answer a step of the task that was cancelled, or whose wait failed."""
        coroutine = self._coroutine
        if coroutine is None:
            self.retired = True
            raise error
        self._waited = _NOTHING
        future, self._future = self._future, None
        if future is not None:
            future.cancel()
        try:
            return coroutine.throw(error)
        except StopIteration:
            return self._next()
        except BaseException:
            self._end()
            raise

    def _next(self) -> Any:
        """Go on to the next coroutine, as far as this one has left no trace."""
        self._end()
        if not self._tasks.park(self, current=1):
            raise StopIteration
        return self._wait()

    def _end(self) -> None:
        done, self._coroutine, self._done = self._done, None, None
        if done is not None:
            done(self)

    def _wait(self) -> asyncio.Future[None]:
        if self.retired:
            raise StopIteration
        call = self._call = self._tasks.loop.create_future()
        call._asyncio_future_blocking = True  # as a future says that is awaited
        return call

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("this is for a task alone")


Coroutine.register(_Worker)


class Tasks:
    """Starts the handlers of one application, in the loop that it runs in."""

    __slots__ = ("_held", "_parked", "blank", "loop")

    loop: asyncio.AbstractEventLoop  # asking for the one that runs is a system call in Python 3.11

    def __init__(self) -> None:
        self.blank = contextvars.copy_context()
        self._parked: list[_Worker] = []
        self._held: set[asyncio.Task[None]] = set()  # the loop has only weak references

    def start(
        self, coroutine: Coroutine[Any, Any, None], done: Callable[[object], None] | None = None
    ) -> bool:
        """Run `coroutine` until it waits or ends; it has to deal with its own exceptions.

        Returns whether it waits. If so it is held on to, and `done` is called once, with something
        of no use, when it has ended. Before Python 3.12 tasks are used again, by those that left
        no trace in them.
        """
        if _EAGER:
            return self._start_eagerly(coroutine, done)
        # by hand, what `eager_start` does from Python 3.12 on
        parked = self._parked
        worker = parked.pop() if parked else self._hire()
        # somebody may have cancelled it while it waited for work
        while worker.retired or worker.interrupted():
            worker = parked.pop() if parked else self._hire()
        try:
            step = worker.step
            waited = step(coroutine)
        except asyncio.CancelledError:  # the end of a task, and of nothing else
            worker.retire()
            return False
        except BaseException:
            worker.retire()
            raise
        if waited is not _NOTHING:
            worker.go_on(coroutine, waited, done)
            return True
        if not self.park(worker):
            worker.retire()
        return False

    def _hire(self) -> _Worker:
        self.loop = asyncio.get_running_loop()
        return _Worker(self)

    def hold(self, task: asyncio.Task[None]) -> None:
        """Keep a task from being collected before it has ended."""
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    def park(self, worker: _Worker, current: int = 0) -> bool:
        """Keep a worker for the next coroutine, if that will find no trace of this one.

        Nor is the next one to be hit by who kept the task of this one, and cancels it some day.
        `current` is 1 if the task is the current one.
        """
        parked = self._parked
        if (
            len(parked) >= _MOST_PARKED
            or worker.context != self.blank
            or worker.task.cancelling()
            or sys.getrefcount(worker.task) > worker.known + current
        ):
            return False
        parked.append(worker)
        return True

    def _start_eagerly(
        self, coroutine: Coroutine[Any, Any, None], done: Callable[[object], None] | None
    ) -> bool:
        loop, context = asyncio.get_running_loop(), self.blank.copy()
        task = asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)  # type: ignore[call-arg]
        if task.done():
            return False
        self.hold(task)
        if done is not None:
            task.add_done_callback(done)
        return True
