"""Answers for the last polls of connections that have closed."""

from __future__ import annotations

import functools
from collections.abc import Callable

from app.transport.timers import Timer, Wheel


class LastPolls:
    """Keeps the payloads that clients of closed connections have still to fetch."""

    def __init__(self, wheel: Wheel, dropped: Callable[[str], None]) -> None:
        """`dropped` is called with the sid of a connection for which no payload is left."""
        self._wheel = wheel
        self._dropped = dropped
        self._kept: dict[str, tuple[list[bytes], Timer, float]] = {}

    def __contains__(self, sid: str) -> bool:
        return sid in self._kept

    def keep(self, sid: str, payloads: list[bytes], seconds: float) -> None:
        """Keep the answers to the last polls of a closed connection, each for so many seconds."""
        timer = Timer(functools.partial(self._drop, sid))
        self._kept[sid] = payloads, timer, seconds
        self._wheel.start(timer, seconds)

    def take(self, sid: str) -> bytes | None:
        """Return the next payload of a closed connection; None if there is none."""
        if sid not in self._kept:
            return None
        payloads, timer, seconds = self._kept[sid]
        payload = payloads.pop(0)
        if payloads:
            self._wheel.start(timer, seconds)
        else:
            self._wheel.stop(timer)
            self._drop(sid)
        return payload

    def clear(self) -> None:
        """Drop all payloads: the process stops."""
        self._kept.clear()

    def _drop(self, sid: str) -> None:
        self._kept.pop(sid, None)
        self._dropped(sid)
