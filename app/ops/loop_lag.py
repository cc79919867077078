"""The lag of the event loop: how late a timer fires."""

from __future__ import annotations

import asyncio

from app.common.histogram import Histogram

_INTERVAL = 0.5  # seconds between two measurements


class LoopLag:
    """Measures the lag of the running loop."""

    def __init__(self) -> None:
        self.seconds = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure, on the running loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _INTERVAL

        def measure() -> None:
            self.start()
            self.seconds.observe(max(0.0, loop.time() - due))

        self._timer = loop.call_at(due, measure)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
