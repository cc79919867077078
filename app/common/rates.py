"""Rate limits: at most so many of one kind of thing in a sliding window."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Protocol

MINUTE = 60.0  # seconds


class SlidingWindow:
    """At most `maximum` hits of one key in any `seconds`, by the monotonic clock.

    It remembers the time of each hit, and forgets a key whose hits are all out of the window.
    `MAX_KEYS` bounds the memory, since strangers can think up any number of keys: beyond it, the
    key whose last hit is oldest is forgotten.
    """

    MAX_KEYS = 100_000

    def __init__(self, maximum: int, seconds: float = MINUTE) -> None:
        """`maximum` 0: no limit."""
        self._maximum = maximum
        self._seconds = seconds
        # the times of the latest hits of each key; the key with the oldest last hit is first
        self._hits: dict[str, deque[float]] = {}

    def take(self, key: str) -> int:
        """Count a hit and return 0, or return how many seconds this key has to wait."""
        seconds = self.wait(key)
        if not seconds:
            self.hit(key)
        return seconds

    def wait(self, key: str) -> int:
        """Return how many seconds this key has to wait; 0 if it may go on now."""
        times = self._hits.get(key)
        if times is None or len(times) < self._maximum:
            return 0
        left = times[0] + self._seconds - time.monotonic()
        return max(0, math.ceil(round(left, 3)))

    def hit(self, key: str) -> None:
        """Count a hit, also beyond the limit."""
        if not self._maximum:
            return
        now = time.monotonic()
        times = self._hits.pop(key, None) or deque(maxlen=self._maximum)
        times.append(now)
        self._hits[key] = times
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the keys whose last hit is out of the window, and those beyond the bound."""
        while True:
            oldest = next(iter(self._hits))
            if len(self._hits) <= self.MAX_KEYS and self._hits[oldest][-1] + self._seconds > now:
                return
            del self._hits[oldest]


class Rate(Protocol):
    """A rate limit that may be counted elsewhere, for all processes together.

    With several keys, each is counted, and the longest wait counts.
    """

    async def take(self, *keys: str) -> int:
        """Count a hit of each key and return 0, or return how many seconds to wait."""
        ...

    async def wait(self, *keys: str) -> int:
        """Return how many seconds to wait; 0 if these keys may go on now."""
        ...

    async def hit(self, *keys: str) -> None:
        """Count a hit of each key, also beyond the limit."""


class MakeRate(Protocol):
    """Makes rate limits."""

    def __call__(self, name: str, maximum: int, seconds: float = MINUTE, /) -> Rate:
        """Return the rate of this name: at most `maximum` in `seconds`; 0: no limit."""
        ...


class ProcessRate:
    """A rate that is counted in this process; its methods never suspend."""

    def __init__(self, name: str, maximum: int, seconds: float = MINUTE, /) -> None:
        self._window = SlidingWindow(maximum, seconds)

    async def take(self, *keys: str) -> int:
        seconds = self._wait(keys)
        if not seconds:
            self._hit(keys)
        return seconds

    async def wait(self, *keys: str) -> int:
        return self._wait(keys)

    async def hit(self, *keys: str) -> None:
        self._hit(keys)

    def _wait(self, keys: tuple[str, ...]) -> int:
        return max(map(self._window.wait, keys))

    def _hit(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._window.hit(key)
