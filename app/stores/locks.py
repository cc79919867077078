"""Locks by session id, within one process."""

from __future__ import annotations

import asyncio
from collections import deque

from app.stores.base import StoreBusy


class Locks:
    """One first-come lock per session id; an id costs memory only while it is locked."""

    def __init__(self, patience: float = 10.0) -> None:
        """`patience` is how many seconds `acquire` waits before it raises StoreBusy."""
        self._patience = patience
        self._waiting: dict[str, deque[asyncio.Future[None]] | None] = {}

    def take(self, session_id: str) -> bool:
        """Take the lock of this id if it is free; `acquire` does the same and can wait."""
        if session_id in self._waiting:
            return False
        self._waiting[session_id] = None
        return True

    async def acquire(self, session_id: str) -> None:
        """Take the lock of this id, waiting behind those who asked before."""
        if self.take(session_id):
            return
        waiting = self._waiting[session_id]
        if waiting is None:
            waiting = self._waiting[session_id] = deque()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        waiting.append(turn)
        timer = loop.call_later(self._patience, self._give_up, turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # the lock was handed over in the same turn of the loop that cancelled us
                self.release(session_id)
            elif turn in waiting:
                waiting.remove(turn)
            raise
        finally:
            timer.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(
                StoreBusy(
                    f"another edit of this session took longer than {self._patience:g} s; "
                    "try again, and keep slow work outside of the session's block"
                )
            )

    def release(self, session_id: str) -> None:
        """Give the lock to the next in the queue, or drop it."""
        waiting = self._waiting[session_id]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[session_id]
