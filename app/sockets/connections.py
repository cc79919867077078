"""The connections of this process by session."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from time import perf_counter

from app.common.histogram import Histogram
from app.common.log_and_continue import logged
from app.sessions.end_reason import EndReason
from app.sessions.replacements import Replacement
from app.sessions.room_name import session_room
from app.sockets.session_connection import Connection, PlainWebSocket, SocketIOConnection
from app.sockets.socket_context import SocketContext
from app.stores import Record
from app.transport import Peer

log = logging.getLogger("latchkey.connections")

# Seconds for which clients stay in the room of the id before: other processes may emit to that
# until they hear of the new one.
_FORMER_ROOM_TIMEOUT = 10.0
_MIN_PAUSE = 0.1  # seconds between two batches of `close_all`
_MIN_BATCH = 20  # connections; fewer than that are closed at once


class Connections:
    """The open connections of each session, and the handshakes that are about to become some."""

    def __init__(self, *, on_session_end: str) -> None:
        """`on_session_end` is "reconnect" or "disconnect", what clients are told to do."""
        self._reconnect = on_session_end == "reconnect"
        self._by_session: dict[str, set[Connection]] = {}
        self._reserved: Counter[str] = Counter()  # handshakes under way, by session
        self.closing = Histogram()  # from the end of a session to its last close
        #: called with a session's id when a connection of it opened, closed or was upgraded
        self.on_change: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return sum(map(len, self._by_session.values()))

    def count(self, session_id: str) -> int:
        """Return how many connections a session has in this process."""
        return len(self._by_session.get(session_id, ()))

    def session_ids(self) -> Collection[str]:
        """Return the ids of the sessions that have connections in this process."""
        return self._by_session.keys()

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the transport of each connection, for the sessions that have any."""
        return {
            id: [connection.transport for connection in self._by_session[id]]
            for id in session_ids
            if id in self._by_session
        }

    async def processes(self) -> list[tuple[str, int]]:
        """Return the number of this process, which is alone, and how many connections it has."""
        return [("0", len(self))]

    # -- handshakes --

    def reserve(self, session_id: str, maximum: int) -> bool:
        """Reserve a place for a handshake; False if the session has `maximum` (0: no limit)."""
        if maximum and self.count(session_id) + self._reserved[session_id] >= maximum:
            return False
        self._reserved[session_id] += 1
        return True

    def release(self, session_id: str) -> None:
        """Give the place of a handshake back: it is a connection by now, or has failed."""
        self._reserved[session_id] -= 1
        if not self._reserved[session_id]:
            del self._reserved[session_id]

    # -- connections that open and close --

    def opened(self, peer: Peer) -> None:
        """Add a connection of Socket.IO."""
        self._add(SocketIOConnection(peer))

    def upgraded(self, peer: Peer) -> None:
        """Note that a connection has moved from polling to a WebSocket."""
        self._tell_change(SocketIOConnection(peer).context.session_id)

    def closed(self, peer: Peer, reason: str) -> None:
        """Remove a connection of Socket.IO."""
        self._remove(SocketIOConnection(peer))

    def attach(
        self, context: SocketContext, close: Callable[[int, str], None]
    ) -> Callable[[], None]:
        """Add a plain WebSocket; the returned function removes it.

        `close` is called with a close code and a reason when the session ends (4401), and when
        the process stops (1001).
        """
        websocket = PlainWebSocket(context, close)
        self._add(websocket)
        return functools.partial(self._remove, websocket)

    def _add(self, connection: Connection) -> None:
        session_id = connection.context.session_id
        self._by_session.setdefault(session_id, set()).add(connection)
        self._tell_change(session_id)

    def _remove(self, connection: Connection) -> None:
        """Remove a connection; do nothing if it was removed before."""
        session_id = connection.context.session_id
        siblings = self._by_session.get(session_id, set())
        if connection not in siblings:
            return
        siblings.discard(connection)
        if not siblings:
            del self._by_session[session_id]
        self._tell_change(session_id)

    def _tell_change(self, session_id: str) -> None:
        for listener in self.on_change:
            with logged(log, "a listener to changed connections failed"):
                listener(session_id)

    # -- connections whose session gets a new id --

    def follow(self, replacement: Replacement) -> None:
        """Let connections go on under the new id of their session, in one step.

        Those from another network stay. They are closed when the end of the old id is announced.
        """
        siblings = self._by_session.get(replacement.old_id, set())
        following = [each for each in siblings if each.context.network == replacement.network]
        if not following:
            return
        for connection in following:
            with logged(log, "a connection could not follow its session to a new id"):
                self._move(connection, replacement.new_id)
        self._tell_change(replacement.old_id)
        self._tell_change(replacement.new_id)

    def _move(self, connection: Connection, new_id: str) -> None:
        old_id = connection.context.session_id
        siblings = self._by_session[old_id]
        siblings.discard(connection)
        if not siblings:
            del self._by_session[old_id]
        connection.context.replace(new_id)
        self._by_session.setdefault(new_id, set()).add(connection)
        room = session_room(old_id)
        connection.enter_also(room, session_room(new_id))
        asyncio.get_running_loop().call_later(_FORMER_ROOM_TIMEOUT, connection.leave, room)

    # -- closing --

    async def close_session(
        self, session_id: str, reason: EndReason, record: Record | None = None
    ) -> None:
        """Tell every connection of this session why it ends, and close it."""
        # a sign-in changes the id on purpose, so its clients may always reconnect
        reconnect = self._reconnect or reason == "regenerated"
        began, connections = perf_counter(), list(self._by_session.get(session_id, ()))
        for connection in connections:
            with logged(log, "a connection of an ended session could not be closed"):
                connection.end_session(reason, reconnect=reconnect)
        if connections:
            self.closing.observe(perf_counter() - began)

    async def close_all(self, *, spread: float = 0.0) -> None:
        """Close every connection because the process stops; official clients reconnect.

        With `spread` (seconds) they are closed in batches, so that they do not all reconnect at
        once.
        """
        connections = [
            connection for siblings in self._by_session.values() for connection in siblings
        ]
        size, pause = _batches(len(connections), spread)
        for start in range(0, len(connections), size):
            if start and spread:
                await asyncio.sleep(pause)
            for connection in connections[start : start + size]:
                with logged(log, "a connection could not be closed"):
                    connection.shut_down()


def _batches(connections: int, spread: float) -> tuple[int, float]:
    """Return the size of a batch, and the seconds between two."""
    max_batches = max(1, math.ceil(spread / _MIN_PAUSE))
    size = max(_MIN_BATCH if spread else 1, math.ceil(connections / max_batches))
    return size, spread / math.ceil(connections / size) if connections else 0.0
