"""One timer for all the deadlines of all connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.common.cached_value import cached_value

#: A loop that is late by more than these seconds was blocked by a handler that does not await.
_BLOCKED = 0.1
#: Seconds that such a loop gets, at most, to read what has arrived meanwhile.
_MAX_GRACE = 1.0


class Alarm:
    """Calls a function at a given time, after the loop has read what had arrived by then.

    uvloop runs timers before it reads, and a handler may have blocked either loop for seconds. No
    client may be judged by a deadline while its bytes lie unread in the kernel.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._when = 0.0  # loop time, seconds
        self._handle: asyncio.Handle | None = None
        self._rung = False  # the time has come, and the loop reads first

    @cached_value
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs in; asking for the running one is a system call."""
        return asyncio.get_running_loop()

    @property
    def late(self) -> bool:
        """Whether the loop was blocked, so that bytes which came in time may still be unread."""
        return self._handle is not None and self._loop.time() > self._when + _BLOCKED

    def set(self, when: float) -> None:
        """Call the function at this loop time, which replaces the time of an earlier call."""
        self.cancel()
        self._when = when
        self._handle = self._loop.call_at(when, self._ring)

    def cancel(self) -> None:
        """Do not call the function."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._rung = False

    def _ring(self) -> None:
        late = self._loop.time() - self._when
        grace_given, self._rung = self._rung, True
        if late > _BLOCKED and not grace_given:
            self._handle = self._loop.call_later(min(late, _MAX_GRACE), self._ring)
        else:
            self._handle = self._loop.call_soon(self._read_first)

    def _read_first(self) -> None:
        # uvloop runs this before it reads, and the next call after it has
        self._handle = self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        self._handle, self._rung = None, False
        self._run()


class Timer:
    """Something that is due once; `Wheel.start` arms it, again and again if need be.

    A subclass says in `run` what it does then.
    """

    __slots__ = ("_tick", "due")

    def __init__(self) -> None:
        self.due = 0.0  # loop time, seconds
        self._tick = -1  # the slot it lies in; -1: none

    def run(self) -> None:
        """Do what is due."""
        raise NotImplementedError


class Wheel:
    """Runs timers within one `resolution` (seconds) after they are due, never before.

    Timers that are due at about the same time share a slot and one wake-up of the loop. A timer
    that is started anew for a later time stays in its slot and moves when that slot comes up,
    so a heartbeat that goes on costs two assignments. After the loop was blocked, timers are
    later still: see `Alarm`.
    """

    def __init__(self, resolution: float) -> None:
        self._resolution = resolution
        self._slots: dict[int, set[Timer]] = {}
        self._alarm = Alarm(self._wake)
        self._next = -1

    @cached_value
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the timers run in; asking for the running one is a system call."""
        return asyncio.get_running_loop()

    @property
    def late(self) -> bool:
        """Whether timers that are due wait until the loop has read what has arrived."""
        return self._alarm.late

    def start(self, timer: Timer, delay: float) -> None:
        """Let `timer` run `delay` seconds from now, and not when it was due before."""
        timer.due = self._loop.time() + delay
        tick = int(timer.due / self._resolution) + 1
        if timer._tick >= 0:
            if timer._tick <= tick:
                return
            self._slots[timer._tick].discard(timer)
        self._file(timer, tick)

    def extend(self, timer: Timer, delay: float) -> None:
        """Start `timer` again, from when it was due: the wheel's own delay does not add up."""
        late = self._loop.time() - timer.due
        self.start(timer, delay - min(late, self._resolution))

    def stop(self, timer: Timer) -> None:
        """Do not run `timer`, whether or not it was started."""
        slot = self._slots.get(timer._tick)
        if slot is not None:
            slot.discard(timer)
        timer._tick = -1

    def close(self) -> None:
        """Forget every timer."""
        self._slots.clear()
        self._alarm.cancel()
        self._next = -1

    def _file(self, timer: Timer, tick: int) -> None:
        timer._tick = tick
        self._slots.setdefault(tick, set()).add(timer)
        if self._next < 0 or tick < self._next:
            self._wake_at(tick)

    def _wake_at(self, tick: int) -> None:
        self._next = tick
        self._alarm.set(tick * self._resolution)

    def _wake(self) -> None:
        now = self._loop.time()
        self._next = -1
        for tick in sorted(tick for tick in self._slots if tick * self._resolution <= now):
            # run() may stop timers of this very slot, so they leave it one by one.
            slot = self._slots[tick]
            while slot:
                timer = slot.pop()
                timer._tick = -1
                if timer.due <= now:
                    self._run(timer)
                else:
                    self._file(timer, max(int(timer.due / self._resolution) + 1, tick + 1))
            self._slots.pop(tick, None)
        if self._slots:
            first = min(self._slots)
            if self._next < 0 or first < self._next:
                self._wake_at(first)

    def _run(self, timer: Timer) -> None:
        try:
            timer.run()
        except Exception as error:  # the timers of other connections go on
            self._loop.call_exception_handler(
                {"message": "a timer of the transport failed", "exception": error}
            )
