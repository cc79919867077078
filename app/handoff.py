"""A future that can call who waits for it at once, instead of in the loop's next turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Handoff(asyncio.Future[T]):
    """What a store answers, for the one who waits.

    A coroutine of `Tasks` becomes its `taker` (before Python 3.12) and goes on within `give` or
    `fail`. So one coroutine may await it, and whoever made it ends it by these two: a taker does
    not hear of `set_result`, `set_exception` or a cancellation by others. Whoever else awaits it
    finds an ordinary future.
    """

    __slots__ = ("taker",)

    taker: Callable[[Handoff[T]], None] | None  # who is called when it is done, and never raises

    def give(self, result: T) -> None:
        """Resolve it, and call who waits."""
        self.set_result(result)
        if self.taker is not None:
            self.taker(self)

    def fail(self, error: Exception) -> None:
        """Fail it, and call who waits."""
        self.set_exception(error)
        if self.taker is not None:
            self.taker(self)


def handoff(loop: asyncio.AbstractEventLoop) -> Handoff[Any]:
    """Return one that nobody waits for yet."""
    made: Handoff[Any] = Handoff(loop=loop)
    made.taker = None
    return made
