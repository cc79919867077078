"""Runs the events of one client one after the other, for namespaces that are `ordered`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Counter(Protocol):
    """What counts the events under way; their number bounds the queue."""

    def hold(self) -> None: ...
    def release(self, event: object) -> None: ...


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
        self._waiting: deque[Coroutine[Any, Any, None]] = deque()
        self._running = False

    def add(self, handling: Coroutine[Any, Any, None]) -> None:
        """Run this after all that were added before."""
        self._counter.hold()
        self._waiting.append(handling)
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running = True
        while self._waiting:
            if self._start(self._waiting.popleft(), self._ended):
                return  # it waits for something
            self._counter.release(self)
        self._running = False

    def _ended(self, task: object) -> None:
        self._counter.release(task)
        self._run()
