"""Periodic jobs of an application."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from app.common.background import CLEANUP_TIMEOUT, Background

log = logging.getLogger("latchkey.jobs")

#: What a job does: a function, `async` or not, without arguments.
Work = Callable[[], Awaitable[Any] | None]
#: Runs a work every so many seconds until it is cancelled; the work raises nothing.
Repeat = Callable[[str, float, Callable[[], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]]


class Job:
    """A periodic job; `cancel` ends it."""

    def __init__(self, name: str, task: asyncio.Task[None]) -> None:
        self.name = name
        self._task = task

    @property
    def cancelled(self) -> bool:
        """Return whether the job has ended, or is about to."""
        return self._task.done() or self._task.cancelling() > 0

    def cancel(self) -> None:
        """End the job, in the middle of its work too; a second call does nothing."""
        self._task.cancel()

    def __repr__(self) -> str:
        return f"<Job {self.name}{' cancelled' if self.cancelled else ''}>"


class Jobs:
    """The periodic jobs of one application."""

    def __init__(self, repeat_in_site: Repeat | None = None) -> None:
        """`repeat_in_site` repeats a work once per site; None for a process that serves alone."""
        self._repeat_in_site = repeat_in_site or _repeat_alone
        self._of_site: set[str] = set()
        #: Runs by the job's name and result, "succeeded" or "failed".
        self.runs: Counter[tuple[str, str]] = Counter()
        #: Seconds since 1970 of the latest success, by the job's name.
        self.succeeded_at: dict[str, float] = {}
        self._tasks = Background()

    def every(
        self, seconds: float, work: Work, *, once_per_site: bool = False, name: str = ""
    ) -> Job:
        """Run `work` every `seconds`, for the first time after as many; see `Services.every`."""
        if not (seconds > 0 and math.isfinite(seconds)):
            raise ValueError(f"every({seconds!r}, …): the interval must be more than 0 seconds")
        if not callable(work):
            raise TypeError(f"every(…, {work!r}): pass the function itself, without calling it")
        name = name or _name(work)
        if once_per_site:
            self._reserve(name, work)
        guarded = self._guarded(name or repr(work), name or "unnamed", work)
        repeat = self._repeat_in_site if once_per_site else _repeat_alone
        task = self._tasks.start(repeat(name, seconds, guarded))
        if once_per_site:
            task.add_done_callback(lambda _: self._of_site.discard(name))
        return Job(name or repr(work), task)

    async def stop(self) -> None:
        """Cancel all jobs and wait for their end, for a second at least."""
        await self._tasks.stop(cleanup=CLEANUP_TIMEOUT)

    def _guarded(
        self, name: str, counted: str, work: Work
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """Return a work that logs its exceptions; its runs are counted under `counted`."""
        self.runs.update({(counted, "succeeded"): 0, (counted, "failed"): 0})

        async def run() -> None:
            task, result = asyncio.current_task(), "failed"
            try:
                done = work()
                if done is not None:
                    await done
                result, self.succeeded_at[counted] = "succeeded", time.time()
            except asyncio.CancelledError:
                if task is not None and task.cancelling():
                    raise
                # something that the work awaited was cancelled, not the job
                log.exception("periodic job failed, it goes on job=%s", name)
            except Exception:
                log.exception("periodic job failed, it goes on job=%s", name)
            self.runs[counted, result] += 1

        return run

    def _reserve(self, name: str, work: Work) -> None:
        """Keep a name for one job, since the processes of a site know the job by it."""
        if not name:
            raise ValueError(f"every(…, {work!r}): a job of the site needs a name; pass name=")
        if name in self._of_site:
            raise ValueError(f"two jobs of the site are called {name}; pass another name= to one")
        self._of_site.add(name)


def _name(work: Work) -> str:
    """Return the name of a function, the same in every process; empty if it has none."""
    name = getattr(work, "__qualname__", "<lambda>")
    return "" if "<lambda>" in name else f"{work.__module__}.{name}"


async def _repeat_alone(
    name: str, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run a work every `seconds` of the loop's clock, which no step of the system's clock moves."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    while True:
        await asyncio.sleep(due - loop.time())
        await work()
        due = next_due(due, seconds, loop.time())


def next_due(due: float, seconds: float, now: float) -> float:
    """Return the first time after `now` in steps of `seconds` from `due`; skip missed ones."""
    return due + seconds * max(1, math.floor((now - due) / seconds) + 1)
