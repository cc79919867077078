"""Which Engine.IO connections hang on which session, and closing them when it ends."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from time import perf_counter

from app.common.guard import logged
from app.common.histogram import Histogram
from app.sessions.reason import EndReason
from app.sockets.context import SocketContext
from app.stores import Record
from app.transport import Peer
from app.transport import Reason as CloseReason
from app.transport.engineio.frames import GOING_AWAY

log = logging.getLogger("latchkey.connections")

#: Close code of a plain WebSocket whose session has ended, of the range for applications.
SESSION_ENDED = 4401

_SHORTEST_PAUSE = 0.1  # seconds between two batches
_SMALLEST_BATCH = 20  # connections; fewer than that are closed at once


class PlainWebSocket:
    """A plain WebSocket of a session, which Tornado serves."""

    def __init__(self, session_id: str, close: Callable[[int, str], None]) -> None:
        self.session_id = session_id
        self.close = close  # with a close code and a reason


Socket = Peer | PlainWebSocket


def session_id_of(socket: Socket) -> str:
    """Return the id of the session that a connection belongs to."""
    if isinstance(socket, PlainWebSocket):
        return socket.session_id
    context: SocketContext = socket.connection.context
    return context.session_id


class Connections:
    """The connections of this process by session id."""

    def __init__(self, *, on_session_end: str) -> None:
        """`on_session_end` is "reconnect" or "disconnect", what clients are told to do."""
        self._reconnect = on_session_end == "reconnect"
        self._by_session: dict[str, set[Socket]] = {}
        self._arriving: Counter[str] = Counter()
        self.closing = Histogram()  # from the end of a session to its last close
        #: Called with a session's id when a connection of it came, went or was upgraded.
        self.on_change: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return sum(map(len, self._by_session.values()))

    def count(self, session_id: str) -> int:
        """Return how many connections a session has in this process."""
        return len(self._by_session.get(session_id, ()))

    def admit(self, session_id: str, most: int) -> bool:
        """Count one handshake in, unless this session has `most` connections; 0: no limit."""
        if most and self.count(session_id) + self._arriving[session_id] >= most:
            return False
        self._arriving[session_id] += 1
        return True

    def admitted(self, session_id: str) -> None:
        """Count it out: by now it is a connection, or has failed."""
        self._arriving[session_id] -= 1
        if not self._arriving[session_id]:
            del self._arriving[session_id]

    def session_ids(self) -> Collection[str]:
        """Return the ids of the sessions that have connections in this process."""
        return self._by_session.keys()

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any."""
        return {
            id: [
                socket.connection.transport.name if isinstance(socket, Peer) else "websocket"
                for socket in self._by_session[id]
            ]
            for id in session_ids
            if id in self._by_session
        }

    def attach(self, session_id: str, close: Callable[[int, str], None]) -> Callable[[], None]:
        """Register a plain WebSocket of this session; call the returned function when it closes.

        `close` is called with a close code and a reason when the session ends (4401), and when
        the process stops (1001).
        """
        websocket = PlainWebSocket(session_id, close)
        self.opened(websocket)
        return functools.partial(self.closed, websocket)

    def opened(self, socket: Socket) -> None:
        """Note a new connection."""
        session_id = session_id_of(socket)
        self._by_session.setdefault(session_id, set()).add(socket)
        self._changed(session_id)

    def upgraded(self, socket: Socket) -> None:
        """Note that a connection has moved to a WebSocket."""
        self._changed(session_id_of(socket))

    def closed(self, socket: Socket, reason: str = "") -> None:
        """Note that a connection has closed; only the first call acts."""
        session_id = session_id_of(socket)
        siblings = self._by_session.get(session_id, set())
        if socket not in siblings:
            return
        siblings.discard(socket)
        if not siblings:
            del self._by_session[session_id]
        self._changed(session_id)

    def _changed(self, session_id: str) -> None:
        for listener in self.on_change:
            with logged(log, "a listener to changed connections failed"):
                listener(session_id)

    async def close_session(
        self, session_id: str, reason: EndReason, record: Record | None = None
    ) -> None:
        """Tell every connection of this session why it ends, then close its transport."""
        # a login changes the id on purpose, so its sockets are always welcome back
        reconnect = self._reconnect or reason == "regenerated"
        began, sockets = perf_counter(), list(self._by_session.get(session_id, ()))
        for socket in sockets:
            if isinstance(socket, PlainWebSocket):
                with logged(log, "a plain WebSocket of an ended session could not be closed"):
                    socket.close(SESSION_ENDED, f"session ended: {reason}")
                continue
            with logged(log, "the end of a session could not be announced"):
                socket.emit("session ended", {"reason": reason, "reconnect": reconnect})
            with logged(log, "a connection of an ended session could not be closed"):
                socket.close(disconnect=not reconnect)
        if sockets:
            self.closing.observe(perf_counter() - began)

    async def close_all(self, *, spread: float = 0.0) -> None:
        """Close every connection; official clients come back by themselves.

        With `spread` (seconds) they are closed in batches, so that they do not all come at once.
        """
        sockets = [socket for siblings in self._by_session.values() for socket in siblings]
        most = max(1, math.ceil(spread / _SHORTEST_PAUSE))
        size = max(_SMALLEST_BATCH if spread else 1, math.ceil(len(sockets) / most))
        pause = spread / math.ceil(len(sockets) / size) if sockets else 0.0
        for start in range(0, len(sockets), size):
            if start and spread:
                await asyncio.sleep(pause)
            for socket in sockets[start : start + size]:
                with logged(log, "a connection could not be closed"):
                    if isinstance(socket, PlainWebSocket):
                        socket.close(GOING_AWAY, "server shutdown")
                    else:
                        socket.close(reason=CloseReason.SHUTDOWN)
