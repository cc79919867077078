"""Runs the events of one client one after the other, for namespaces that are `ordered`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol


class Counter(Protocol):
    """What counts the events under way; their number bounds the queue."""

    def hold(self, count: int) -> None: ...
    def release(self, count: int) -> None: ...


class InOrder:
    """A queue of handlers, each of which starts when the one before has ended.

    Each has a task of its own. All count as under way, so that too many pause reading.
    """

    __slots__ = ("_counter", "_running", "_start", "_waiting")

    def __init__(
        self,
        start: Callable[[Coroutine[Any, Any, None], Callable[[object], None]], bool],
        counter: Counter,
    ) -> None:
        """`start` is `Tasks.start`."""
        self._start = start
        self._counter = counter
        self._waiting: deque[tuple[Coroutine[Any, Any, None], int]] = deque()
        self._running = False

    def add(self, handling: Coroutine[Any, Any, None], count: int = 1) -> None:
        """Run this after all that were added before; it counts as so many events."""
        self._counter.hold(count)
        self._waiting.append((handling, count))
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running = True
        while self._waiting:
            handling, count = self._waiting.popleft()
            if self._start(handling, partial(self._ended, count)):
                return  # it waits for something
            self._counter.release(count)
        self._running = False

    def _ended(self, count: int, task: object) -> None:
        self._counter.release(count)
        self._run()
