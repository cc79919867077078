"""What all processes of the site do now, and what they did in the last hour."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from app.common.background import Background
from app.common.log_and_continue import logged
from app.stores import StoreError

log = logging.getLogger("latchkey.counts")

SLOT = 30  # seconds that one point of the plot is for
SLOTS = 120  # points that are kept
_INTERVAL = 1.0  # seconds


class Counts(msgspec.Struct, frozen=True):
    """What one process, or all of them, have and do."""

    connections: int = 0
    sessions: int = 0  # with connections
    events: int = 0  # in the last second, or in a slot
    sign_ins: int = 0  # in the slot, which may still last

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.connections + other.connections,
            self.sessions + other.sessions,
            self.events + other.events,
            self.sign_ins + other.sign_ins,
        )


class SharedCounts(Protocol):
    """Where the processes of a site add up their counts. Methods may raise StoreError."""

    async def tell(self, now: Counts) -> None:
        """Replace what this process has and does now."""

    async def add(self, slot: int, counts: Counts) -> None:
        """Add the counts of this process in a slot that is over."""

    async def now(self) -> Counts:
        """Return what all processes have and do now."""
        ...

    async def slots(self, first: int) -> Mapping[int, Counts]:
        """Return the counts of all processes in the slots from `first` on."""
        ...


class LocalCounts:
    """The `SharedCounts` of a process that serves alone."""

    def __init__(self) -> None:
        self._now = Counts()
        self._slots: dict[int, Counts] = {}

    async def tell(self, now: Counts) -> None:
        self._now = now

    async def add(self, slot: int, counts: Counts) -> None:
        self._slots[slot] = counts
        for old in [each for each in self._slots if each <= slot - SLOTS]:
            del self._slots[old]

    async def now(self) -> Counts:
        return self._now

    async def slots(self, first: int) -> Mapping[int, Counts]:
        return {slot: counts for slot, counts in self._slots.items() if slot >= first}


class SiteCounts:
    """Counts this process once a second, and reads the counts of all; `services.site_counts`."""

    def __init__(
        self,
        read: Callable[[], Counts],
        shared: SharedCounts | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`read` returns the counts of this process, in which events and sign-ins are totals.

        `clock` is the one by which processes agree on slots. Without `shared` there are no others.
        """
        self._read = read
        self._shared: SharedCounts = shared or LocalCounts()
        self._clock = clock
        self._background = Background()

    async def now(self) -> Counts:
        """Return what all processes have and do now; raises StoreError."""
        return await self._shared.now()

    async def hour(self) -> list[Counts]:
        """Return the counts of all processes in the last hour, the oldest slot first.

        A slot in which no process ran has zeros. Raises StoreError.
        """
        first = int(self._clock() // SLOT) - SLOTS
        found = await self._shared.slots(first)
        return [found.get(slot, Counts()) for slot in range(first, first + SLOTS)]

    def start(self) -> None:
        """Count from now on, on the running loop."""
        self._background.start(self._run())

    async def stop(self) -> None:
        """Stop counting."""
        await self._background.stop()

    async def _run(self) -> None:
        slot, before = int(self._clock() // SLOT), self._read()
        begin = before  # of the slot
        while True:
            await asyncio.sleep(_INTERVAL)
            counts, current = self._read(), int(self._clock() // SLOT)
            with logged(log, "the counts of this process could not be shared"):
                try:
                    now = _since(counts, msgspec.structs.replace(before, sign_ins=begin.sign_ins))
                    await self._shared.tell(now)
                    if current != slot:
                        await self._shared.add(slot, _since(counts, begin))
                except StoreError as error:
                    log.debug("counts are not shared, the store is down: %s", error)
            before = counts
            if current != slot:
                slot, begin = current, counts


def _since(counts: Counts, before: Counts) -> Counts:
    """Return counts whose totals are those since `before`."""
    return Counts(
        counts.connections,
        counts.sessions,
        counts.events - before.events,
        counts.sign_ins - before.sign_ins,
    )
