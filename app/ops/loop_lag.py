"""The lag of the event loop: how late a timer fires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from app.common.histogram import Histogram

INTERVAL = 0.5  # seconds between two measurements


class LoopLag:
    """Measures the lag of the running loop."""

    def __init__(self, measured: Callable[[], None] = lambda: None) -> None:
        """`measured` is called after each measurement, on the loop."""
        self.seconds = Histogram()
        #: Monotonic time of the latest measurement.
        self.measured_at = time.monotonic()
        self._measured = measured
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure, on the running loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + INTERVAL

        def measure() -> None:
            self.start()
            self.seconds.observe(max(0.0, loop.time() - due))
            self._measured()

        self.measured_at = time.monotonic()
        self._timer = loop.call_at(due, measure)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
