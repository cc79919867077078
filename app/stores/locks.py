"""Locks by session id, within one process."""

from __future__ import annotations

import asyncio
from collections import deque

from app.stores.errors import StoreBusy


class Locks:
    """One first-come lock per session id; an id takes memory only while it is locked."""

    def __init__(self, timeout: float = 10.0) -> None:
        """`timeout` is how many seconds `acquire` waits before it raises StoreBusy."""
        self._timeout = timeout
        # the ids that are locked, each with its queue; None until a caller waits
        self._queues: dict[str, deque[asyncio.Future[None]] | None] = {}

    def try_acquire(self, session_id: str) -> bool:
        """Acquire the lock of this id if it is free; return whether it was."""
        if session_id in self._queues:
            return False
        self._queues[session_id] = None
        return True

    async def acquire(self, session_id: str) -> None:
        """Acquire the lock of this id; earlier callers come first."""
        if self.try_acquire(session_id):
            return
        queue = self._queues[session_id]
        if queue is None:
            queue = self._queues[session_id] = deque()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        queue.append(turn)
        timer = loop.call_later(self._timeout, self._expire, turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # the same iteration of the loop gave us the lock and cancelled us
                self.release(session_id)
            elif turn in queue:
                queue.remove(turn)
            raise
        finally:
            timer.cancel()

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(
                StoreBusy(
                    f"another edit of this session took longer than {self._timeout:g} s; "
                    "try again, and keep slow work outside of the session's block"
                )
            )

    def release(self, session_id: str) -> None:
        """Give the lock to the next in the queue, or drop it."""
        queue = self._queues[session_id]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[session_id]
