"""Turns of the event loop, shared so that large messages do not delay other clients."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
from collections.abc import Callable

#: Bytes that need no turn: their work takes less than a millisecond.
MAX_SMALL_SIZE = 4096
#: Bytes worked on in one turn of the loop, or one message that is larger: 1 MB takes 20 to 60 ms.
MAX_TURN_SIZE = 262_144


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Turns:
    """Lets work on a large message begin only while this turn of the loop has bytes left.

    Other work begins in a later turn, the smallest first. In between the loop serves all other
    clients.
    """

    __slots__ = ("_began", "_left", "_loop", "_numbers", "_resting", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = MAX_TURN_SIZE  # bytes of this turn
        self._began = 0.0  # loop time
        self._resting = False  # whether `_end` or `_next` is scheduled
        self._numbers = itertools.count()  # first come, first served among equals
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []

    def enter(self, size: int, begin: Callable[[], None]) -> bool:
        """Return whether work on so many bytes may begin; if not, `begin` is called later."""
        if size <= MAX_SMALL_SIZE:
            return True
        if self._left <= 0 or self._waiting:
            heapq.heappush(self._waiting, (size, next(self._numbers), begin))
            return False
        if not self._resting:
            self._start()
        self._left -= size
        return True

    async def wait(self, size: int) -> None:
        """Wait until work on so many bytes may begin."""
        begun: asyncio.Future[None] = self._loop.create_future()
        if not self.enter(size, functools.partial(_finish, begun)):
            await begun

    def _start(self) -> None:
        self._left, self._began, self._resting = MAX_TURN_SIZE, self._loop.time(), True
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        """Rest for as long as the turn took, so that others have the loop half of the time."""
        if self._waiting:
            now = self._loop.time()
            self._loop.call_at(now + now - self._began, self._next)
        else:
            self._left, self._resting = MAX_TURN_SIZE, False

    def _next(self) -> None:
        self._start()
        while self._waiting and self._left > 0:
            size, _, begin = heapq.heappop(self._waiting)
            self._left -= size
            begin()
