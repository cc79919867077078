"""The open connections of a server: their deadlines, and their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from app.common.log_and_continue import logged
from app.transport.timers import Alarm

log = logging.getLogger("app.transport.http")


class Connection(Protocol):
    """A connection that speaks HTTP."""

    def close_soon(self) -> None:
        """Close unless a request is in hand: its response will then be the last."""

    def abort(self) -> None:
        """Cut the connection at once."""

    def check(self, now: float) -> None:
        """Act on deadlines that have passed at this loop time."""


class Stream(Protocol):
    """A connection that a handler has detached: a plain WebSocket, or a protocol of a fork."""

    close_soon: Callable[[], None] | None

    def close(self) -> None:
        """Cut the connection."""


C = TypeVar("C", bound=Connection)


class OpenConnections(Generic[C]):
    """Looks at the deadlines of all connections now and then, which is cheaper than timers."""

    def __init__(self, interval: float) -> None:
        """`interval` is the time between two looks, in seconds."""
        self._interval = interval
        self._connections: set[C] = set()
        self.streams: set[Stream] = set()
        self._alarm = Alarm(self._check)
        self._checking = False
        self._none_left: asyncio.Future[None] | None = None

    def __iter__(self) -> Iterator[C]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: C) -> None:
        """Add a connection that was accepted."""
        self._connections.add(connection)
        if not self._checking:
            self._check_later()

    def forget(self, connection: C) -> None:
        """Remove a connection that was closed or detached."""
        self._connections.discard(connection)
        self._look_if_none_left()

    def add_stream(self, stream: Stream) -> None:
        """Add a connection that was detached."""
        self.streams.add(stream)

    def forget_stream(self, stream: Stream) -> None:
        """Remove a detached connection that was closed."""
        self.streams.discard(stream)
        self._look_if_none_left()

    def close_soon(self) -> None:
        """Close those without a request in hand, and ask the detached ones to close."""
        for connection in list(self._connections):
            with logged(log, "a connection could not be closed"):
                connection.close_soon()
        for stream in list(self.streams):
            with logged(log, "a detached stream could not be closed"):
                if stream.close_soon is not None:
                    stream.close_soon()

    def abort(self) -> None:
        """Cut all of them."""
        for connection in list(self._connections):
            with logged(log, "a connection could not be cut"):
                connection.abort()
        for stream in list(self.streams):
            with logged(log, "a detached stream could not be cut"):
                stream.close()

    async def wait_until_closed(self, seconds: float) -> bool:
        """Wait until none is left, for some seconds; return whether none is."""
        if not self._connections and not self.streams:
            return True
        self._none_left = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({self._none_left}, timeout=seconds)
        self._none_left = None
        return bool(done)

    def stop(self) -> None:
        """Look at no more deadlines."""
        self._alarm.cancel()
        self._checking = False

    def _look_if_none_left(self) -> None:
        waiting, some = self._none_left, self._connections or self.streams
        if waiting is not None and not waiting.done() and not some:
            waiting.set_result(None)

    def _check_later(self) -> None:
        self._checking = True
        self._alarm.set(asyncio.get_running_loop().time() + self._interval)

    def _check(self) -> None:
        self._checking = False
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            try:
                connection.check(now)
            except Exception:
                log.exception("a connection failed and is cut")
                connection.abort()
        if self._connections:
            self._check_later()
