"""The clock of sessions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from app.common.log_and_continue import logged

log = logging.getLogger("latchkey.clock")

_CHECK_INTERVAL = 1.0  # seconds between two looks at the system's clock
_MAX_CORRECTION = 5.0  # seconds of a step that is followed at once
_CONFIRM_TIMEOUT = 600.0  # seconds that a larger step has to last to be followed
_LOG_INTERVAL = 60.0  # seconds between two log lines, for a clock that keeps jumping


# Seconds on a clock that cannot be set. Linux stops CLOCK_MONOTONIC while the machine is suspended;
# other systems have no CLOCK_BOOTTIME.
elapsed: Callable[[], float] = partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)


class Clock(Protocol):
    """The time of day as sessions use it: the source of every deadline."""

    #: called with the seconds of a step just before the clock follows it
    on_step: list[Callable[[float], None]]

    @property
    def in_doubt(self) -> bool:
        """Whether the system's clock was set and this one does not follow yet."""
        ...

    def __call__(self) -> float:
        """Return the time now, in seconds since 1970."""
        ...


class SteadyClock:
    """A Clock that a step of the system's clock does not move at once.

    It reads the system's clock when it is made and runs on by a clock that cannot be set. It
    follows corrections of up to 5 s at once. It ignores a larger step until that has lasted for
    10 minutes, so that a jump that is taken back ends no session. Call it on one thread only.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """`wall` is the system's clock, `elapsed` one that cannot be set; both in seconds."""
        self._wall = wall
        self._elapsed = elapsed
        now = elapsed()
        self._offset = wall() - now  # what to add to `elapsed`
        self._next_check = now + _CHECK_INTERVAL
        self._step = 0.0  # by how much the system's clock is ahead of this one
        self._step_began = now
        self._next_log = now
        self.on_step: list[Callable[[float], None]] = []

    @property
    def in_doubt(self) -> bool:
        return self._step != 0

    def __call__(self) -> float:
        elapsed = self._elapsed  # a local name is called faster, see `Lifetimes`
        now = elapsed()
        if now >= self._next_check:
            self._check(now)
        return now + self._offset

    def _check(self, now: float) -> None:
        """Compare with the system's clock."""
        self._next_check = now + _CHECK_INTERVAL
        step = self._wall() - (now + self._offset)
        if abs(step) <= _MAX_CORRECTION:
            self._offset += step
            self._step = 0.0
        elif abs(step - self._step) > _MAX_CORRECTION:
            self._step, self._step_began = step, now
            self._log_step(now)
        elif now - self._step_began >= _CONFIRM_TIMEOUT:
            for listener in self.on_step:
                with logged(log, "a listener to a step of the clock failed"):
                    listener(step)
            self._offset += step
            self._step = 0.0
            log.warning("sessions follow the new time of the system's clock step=%+.0fs", step)

    def _log_step(self, now: float) -> None:
        if now < self._next_log:
            return
        self._next_log = now + _LOG_INTERVAL
        log.warning(
            "the system's clock was set; sessions keep the old time unless it stays so "
            "step=%+.0fs followed_in=%.0fs",
            self._step,
            _CONFIRM_TIMEOUT,
        )
