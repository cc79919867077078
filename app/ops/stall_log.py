"""A log of stalls: what keeps the event loop, and with it all clients, waiting."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from types import FrameType

from app.ops.loop_lag import INTERVAL, LoopLag

log = logging.getLogger("latchkey.stalls")

_STALL = 1.0  # seconds that the loop is late
# packages that call handlers; a stall is the fault of what they call
_MACHINERY = frozenset(
    ("__main__", "app", "asyncio", "contextvars", "runpy", "socketio", "tornado", "uvloop")
)


class StallLog:
    """Logs each stall of the loop once, with its stack, from a thread of its own."""

    def __init__(self, lag: LoopLag) -> None:
        """`lag` measures the loop of the thread that calls `start`."""
        self._lag = lag
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall log", daemon=True)
        self._loop_thread = 0
        #: Stalls that were logged.
        self.count = 0

    def start(self) -> None:
        """Begin to watch the loop of this thread."""
        self._loop_thread = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a stop without a start does nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        stalled_since: float | None = None  # measurement after which the logged stall began
        woke = time.monotonic()
        while not self._stopped.wait(INTERVAL):
            previous, woke = woke, time.monotonic()
            measured = self._lag.measured_at
            if stalled_since is not None and measured != stalled_since:
                log.warning("the event loop goes on seconds=%.1f", measured - stalled_since)
                stalled_since = None
            if woke - previous > INTERVAL + _STALL / 2:
                continue  # the whole process was stopped, or got no CPU
            if stalled_since is None and woke - measured > INTERVAL + _STALL:
                stalled_since = measured
                self._report(woke - measured)

    def _report(self, seconds: float) -> None:
        self.count += 1
        frame = sys._current_frames().get(self._loop_thread)
        if frame is not None:
            stack = "".join(traceback.format_stack(frame)).rstrip()
            where = _handler(frame)
            log.warning(
                "the event loop stalls; move slow work to a thread seconds=%.1f handler=%s\n%s",
                seconds,
                where,
                stack,
            )


def _handler(frame: FrameType) -> str:
    """Return the dotted name of the function that the machinery has called."""
    found, this = _name(frame), frame
    while (outer := this.f_back) is not None:
        if not _is_machinery(this) and _is_machinery(outer):
            found = _name(this)
        this = outer
    return found


def _is_machinery(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _MACHINERY


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
