"""Counts and durations of the calls of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from app.common.histogram import Histogram
from app.stores.errors import StoreError
from app.stores.protocol import SessionStore
from app.stores.wrapper import StoreWrapper

T = TypeVar("T")

#: Calls that `CountedStore` counts.
_OTHERS = (
    *("create", "touch", "destroy", "replaced_by", "load_many"),
    *("of_user", "count", "find", "trim", "purge", "scan", "stored", "ping"),
)
#: All calls of a store, as metrics name them.
CALLS = ("load", "lock", "save", *_OTHERS)


class StoreCounts:
    """Calls of a store: how many, how long, how many failed.

    Loads, locks and saves under a lock are counted where they are called, in app.sessions: a
    wrapper around each would cost an event more than a microsecond.
    """

    def __init__(self) -> None:
        self.loads = 0  # not timed, since every event has one
        self.locks = Histogram()  # the wait included
        self.saves = Histogram()
        self.others = {call: Histogram() for call in _OTHERS}
        self.errors = Counter(dict.fromkeys(CALLS, 0))


class CountedStore(StoreWrapper):
    """A SessionStore over another one that counts the calls which are not part of an event."""

    def __init__(self, store: SessionStore, counts: StoreCounts) -> None:
        super().__init__(store)
        self._counts = counts
        # the store's own methods: passing these calls on would cost an event 0.2 µs
        self.load = store.load
        self.try_lock = store.try_lock
        self.lock = store.lock

    async def around(self, call: str, work: Awaitable[T]) -> T:
        """Await a call, and count it."""
        began = perf_counter()
        try:
            return await work
        except StoreError:
            self._counts.errors[call] += 1
            raise
        finally:
            self._counts.others[call].observe(perf_counter() - began)
