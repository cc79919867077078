"""Answers for the last polls of connections that have closed."""

from __future__ import annotations

from app.transport.engineio.connection import Connection
from app.transport.timers import Timer, Wheel


class _Kept(Timer):
    """The payloads for one client, each kept for so many seconds."""

    __slots__ = ("_all", "connection", "payloads", "seconds")

    def __init__(
        self,
        all_kept: dict[str, _Kept],
        connection: Connection,
        payloads: list[bytes],
        seconds: float,
    ) -> None:
        super().__init__()
        self._all = all_kept
        self.connection = connection
        self.payloads = payloads
        self.seconds = seconds

    def run(self) -> None:
        """Drop them: the client has not come."""
        self._all.pop(self.connection.sid, None)


class LastPolls:
    """Keeps the payloads that clients of closed connections have still to fetch."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, sid: str) -> bool:
        return sid in self._kept

    def keep(self, connection: Connection, payloads: list[bytes], seconds: float) -> None:
        """Keep the answers to the last polls of a closed connection, each for so many seconds."""
        kept = _Kept(self._kept, connection, payloads, seconds)
        self._kept[connection.sid] = kept
        self._wheel.start(kept, seconds)

    def find(self, sid: str) -> Connection | None:
        """Return a closed connection that has payloads left."""
        kept = self._kept.get(sid)
        return None if kept is None else kept.connection

    def take(self, sid: str) -> bytes | None:
        """Return the next payload of a closed connection; None if there is none."""
        kept = self._kept.get(sid)
        if kept is None:
            return None
        payload = kept.payloads.pop(0)
        if kept.payloads:
            self._wheel.start(kept, kept.seconds)
        else:
            self._drop(kept)
        return payload

    def take_all(self, sid: str) -> list[bytes]:
        """Return all payloads of a closed connection that are left."""
        kept = self._kept.get(sid)
        if kept is None:
            return []
        self._drop(kept)
        return kept.payloads

    def clear(self) -> None:
        """Drop all payloads: the process stops."""
        self._kept.clear()

    def _drop(self, kept: _Kept) -> None:
        self._wheel.stop(kept)
        self._kept.pop(kept.connection.sid, None)
