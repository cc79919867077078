"""When SQLite's log is moved into the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.stores.sqlite.checkpoint_timer import CheckpointTimer


class ManualLoop:
    """A loop whose time the test moves; it has one timer."""

    def __init__(self) -> None:
        self._now = self._due = 0.0
        self._call: Callable[[], object] | None = None

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> object:
        assert self._call is None
        self._due, self._call = self._now + delay, lambda: callback(*args)
        return self._call

    def advance(self, seconds: float) -> None:
        """Move the time, and call back what is due meanwhile."""
        end = self._now + seconds
        while (call := self._call) is not None and self._due <= end:
            self._now, self._call = self._due, None
            call()
        self._now = end


def test_it_is_due_two_seconds_after_the_last_write() -> None:
    loop: Any = ManualLoop()
    made: list[float] = []
    timer = CheckpointTimer(lambda: made.append(loop.time()))
    for _ in range(20):
        timer.written(loop)
        loop.advance(1.5)
    assert made == []
    loop.advance(0.4)
    assert made == []
    loop.advance(0.2)
    assert made == [30.5]
    loop.advance(1000)
    assert len(made) == 1


def test_writes_without_end_put_it_off_for_a_minute() -> None:
    loop: Any = ManualLoop()
    made: list[float] = []
    timer = CheckpointTimer(lambda: made.append(loop.time()))
    for _ in range(125):
        timer.written(loop)
        loop.advance(1)
    assert made == [60, 120]
