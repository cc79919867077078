"""A task that begins at once on Python 3.11, as `eager_start` has it from 3.12 on.

It follows what Python's documentation says of third-party tasks in "Extending asyncio". A task of
asyncio that is made to begin at once needs twice the instructions, which is a tenth of all that an
event takes. Delete this file with Python 3.11.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
import types
from asyncio import _enter_task, _leave_task, _register_task
from collections.abc import Callable, Coroutine, Generator
from typing import IO, Any

_Future = asyncio.Future
# Python 3.11 finds `task.done` slowly, as it does all methods of Futures and their subclasses.
_is_done, _loop_of = asyncio.Future.done, asyncio.Future.get_loop
_ENDED = object()


class EagerTask(asyncio.Future[None]):
    """Has what `asyncio.Task` has; `begin` makes one."""

    __slots__ = ("_awaited", "_context", "_coroutine", "_ended", "_must_cancel", "_steps")
    _coroutine: Coroutine[Any, Any, None]
    _context: contextvars.Context
    _steps: Generator[Any, Any, None]
    _awaited: asyncio.Future[Any] | None  # what the coroutine waits for
    _must_cancel: bool  # whether the next step is a CancelledError
    _ended: Callable[[Any], None]
    _cancellations = 0  # requests to cancel it, less those that were taken back
    _message: Any = None  # of that CancelledError
    _name = ""

    @classmethod
    def begin(
        cls,
        coroutine: Coroutine[Any, Any, None],
        loop: Any,
        context: contextvars.Context,
        ended: Callable[[Any], None],
    ) -> Any:  # an asyncio.Task to type checkers
        """Make a task for this coroutine, and take its first step in this context.

        Returns None if it has ended, and the task if it waits for something. Then `ended` is called
        with the task as soon as it ends: a done callback would come a turn of the loop later, and
        take an event that waits 0.6 µs.
        """
        task: EagerTask = cls(loop=loop)  # an __init__ that calls that of Future takes 0.2 µs
        this: Any = task
        task._coroutine, task._steps = coroutine, coroutine.__await__()
        task._context, task._must_cancel = context, False
        task._awaited, task._ended = None, ended
        outer: Any = asyncio.current_task(loop)
        if outer is not None:
            _leave_task(loop, outer)
        _enter_task(loop, this)
        try:
            EagerTask._step(task, loop)
        finally:
            if outer is not None:
                _enter_task(loop, outer)
        if _is_done(this):
            return None
        _register_task(this)
        return task

    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        self._cancellations += 1
        if self._awaited is None or not self._awaited.cancel(msg=msg):
            self._must_cancel = True
            self._message = msg
        return True

    def cancelling(self) -> int:
        """Return the number of requests to cancel this task."""
        return self._cancellations

    def uncancel(self) -> int:
        """Take one request to cancel back; return how many are left."""
        self._cancellations = max(0, self._cancellations - 1)
        return self._cancellations

    def set_result(self, result: object) -> None:
        raise RuntimeError("a task takes its result from its coroutine")

    def set_exception(self, exception: object) -> None:
        raise RuntimeError("a task takes its exception from its coroutine")

    # -- steps of the coroutine --

    def _step(self, loop: Any, error: BaseException | None = None) -> None:
        """Run the coroutine until it waits or ends; this task is the current one till then."""
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(error, asyncio.CancelledError):
                error = self._cancelled_error()
        try:
            if error is None:
                # `send` would raise StopIteration at the end: 0.3 µs
                awaited = self._context.run(next, self._steps, _ENDED)
            else:
                awaited = self._context.run(self._throw, error)
            if awaited is not _ENDED:
                EagerTask._wait_for(self, awaited, loop)
            elif self._must_cancel:
                _Future.cancel(self, self._message)
            else:
                _Future.set_result(self, None)
        except asyncio.CancelledError:
            _Future.cancel(self)
        except (KeyboardInterrupt, SystemExit) as end:
            _Future.set_exception(self, end)
            raise
        except BaseException as failure:
            _Future.set_exception(self, failure)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
            error = None  # whose traceback refers to this frame

    def _throw(self, error: BaseException) -> Any:
        try:
            return self._steps.throw(error)
        except StopIteration:
            return _ENDED

    def _cancelled_error(self) -> asyncio.CancelledError:
        return asyncio.CancelledError(*(() if self._message is None else (self._message,)))

    def _wait_for(self, awaited: Any, loop: Any) -> None:
        """Take the next step when this future is done; with None in the next turn of the loop."""
        if (
            getattr(awaited, "_asyncio_future_blocking", None)  # documented at `asyncio.isfuture`
            and awaited is not self
            and awaited.get_loop() is loop
        ):
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._resume)
            self._awaited = awaited
            if self._must_cancel and awaited.cancel(msg=self._message):
                self._must_cancel = False
        elif awaited is None:
            loop.call_soon(self._resume)
        else:
            loop.call_soon(self._resume, None, RuntimeError(self._refusal(awaited)))

    def _refusal(self, awaited: Any) -> str:
        """Return why a coroutine cannot wait for this."""
        blocking = getattr(awaited, "_asyncio_future_blocking", None)
        if blocking is None:
            return f"task {self!r} got a bad yield: {awaited!r} is not a future"
        if not blocking:
            return f"task {self!r} got a bad yield: {awaited!r}; write `await`"
        if awaited is self:
            return f"task {self!r} cannot wait for itself"
        return f"task {self!r} cannot wait for {awaited!r} of another loop"

    def _resume(
        self, awaited: asyncio.Future[Any] | None = None, error: BaseException | None = None
    ) -> None:
        """Take the next step: what the coroutine has waited for is done."""
        self._awaited = None
        if awaited is not None:
            try:
                awaited.result()
            except BaseException as failure:
                error = failure
        loop: Any = _loop_of(self)
        _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            EagerTask._step(self, loop, error)
        finally:
            error = None  # whose traceback refers to this frame
            if _is_done(self):
                self._ended(self)

    # -- what debuggers ask --

    def get_coro(self) -> Coroutine[Any, Any, None]:
        """Return the coroutine."""
        return self._coroutine

    def get_name(self) -> str:
        """Return the name that was set, or one that no other living task has."""
        return self._name or f"Task-{id(self)}"

    def set_name(self, value: object) -> None:
        """Name the task."""
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[types.FrameType]:
        """Return the frame in which the coroutine waits; an empty list if it has ended."""
        frame: types.FrameType | None = getattr(self._coroutine, "cr_frame", None)
        return [] if frame is None else [frame]

    def print_stack(self, *, limit: int | None = None, file: IO[str] | None = None) -> None:
        """Print where the coroutine waits."""
        for frame in self.get_stack():
            traceback.print_stack(frame, limit=limit, file=file)

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "pending"
        coroutine = getattr(self._coroutine, "__qualname__", repr(self._coroutine))
        return f"<EagerTask {state} name={self.get_name()!r} coro={coroutine}>"
