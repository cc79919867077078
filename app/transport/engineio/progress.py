"""How long ago a client last took some of its data."""

from __future__ import annotations

from app.transport.clock import Clock


class Progress:
    """Notes when the number of bytes that a client has taken last changed."""

    __slots__ = ("_clock", "_moved", "_taken")

    def __init__(self, clock: Clock, taken: int) -> None:
        self._clock = clock
        self._taken = taken
        self._moved = clock.loop.time()  # when `_taken` was different

    def idle(self, taken: int) -> float:
        """Return for how many seconds the number has been the same; 0 if it has just changed."""
        now = self._clock.loop.time()
        if taken != self._taken:
            self._taken, self._moved = taken, now
        return now - self._moved
