"""Which Engine.IO connections hang on which session, and closing them when it ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import Any

from app.common.guard import logged
from app.common.histogram import Histogram
from app.sessions.session import Reason
from app.stores import Record
from app.transport import Reason as CloseReason
from app.transport import SocketServer
from app.transport.engineio.frames import GOING_AWAY

log = logging.getLogger("latchkey.connections")

#: Close code of a plain WebSocket whose session has ended, of the range for applications.
SESSION_ENDED = 4401

_SHORTEST_PAUSE = 0.1  # seconds between two batches
_SMALLEST_BATCH = 20  # connections; fewer than that are closed at once


class Connections:
    """The connections of this process by Engine.IO id and by session id."""

    def __init__(self, server: SocketServer, *, on_session_end: str) -> None:
        """`on_session_end` is "reconnect" or "disconnect", what clients are told to do."""
        self._server = server
        self._reconnect = on_session_end == "reconnect"
        self._session_ids: dict[str, str] = {}
        self._by_session: dict[str, set[str]] = {}
        self._plain: dict[str, Callable[[int, str], None]] = {}  # how to close each
        self._plain_ids = itertools.count(1)
        self._arriving: Counter[str] = Counter()
        self.closing = Histogram()  # from the end of a session to its last close
        #: Called with a session's id when a connection of it came, went or was upgraded.
        self.on_change: list[Callable[[str], None]] = []
        server.opened = self._opened
        server.upgraded = self._upgraded
        server.closed = self._closed

    def __len__(self) -> int:
        return len(self._session_ids)

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
        connections = self._server.eio.sockets
        return {
            id: [
                "websocket" if sid in self._plain else connections[sid].transport.name
                for sid in self._by_session[id]
                if sid in connections or sid in self._plain
            ]
            for id in session_ids
            if id in self._by_session
        }

    def attach(self, session_id: str, close: Callable[[int, str], None]) -> Callable[[], None]:
        """Register a plain WebSocket of this session; call the returned function when it closes.

        `close` is called with a close code and a reason when the session ends (4401), and when
        the process stops (1001).
        """
        id = f"plain {next(self._plain_ids)}"
        self._plain[id] = close
        self._opened(id, {"latchkey.session_id": session_id})

        def gone() -> None:
            if self._plain.pop(id, None) is not None:
                self._closed(id, "")

        return gone

    def _changed(self, session_id: str) -> None:
        for listener in self.on_change:
            with logged(log, "a listener to changed connections failed"):
                listener(session_id)

    def _opened(self, eio_sid: str, environ: dict[str, Any]) -> None:
        session_id = environ["latchkey.session_id"]
        self._session_ids[eio_sid] = session_id
        self._by_session.setdefault(session_id, set()).add(eio_sid)
        self._changed(session_id)

    def _upgraded(self, eio_sid: str) -> None:
        session_id = self._session_ids.get(eio_sid)
        if session_id is not None:
            self._changed(session_id)

    def _closed(self, eio_sid: str, reason: str) -> None:
        session_id = self._session_ids.pop(eio_sid, None)
        if session_id is None:
            return
        siblings = self._by_session[session_id]
        siblings.discard(eio_sid)
        if not siblings:
            del self._by_session[session_id]
        self._changed(session_id)

    async def close_session(
        self, session_id: str, reason: Reason, record: Record | None = None
    ) -> None:
        """Tell every connection of this session why it ends, then close its transport."""
        # a login changes the id on purpose, so its sockets are always welcome back
        reconnect = self._reconnect or reason == "regenerated"
        began, eio_sids = perf_counter(), list(self._by_session.get(session_id, ()))
        for eio_sid in eio_sids:
            if eio_sid in self._plain:
                with logged(log, "a plain WebSocket of an ended session could not be closed"):
                    self._plain[eio_sid](SESSION_ENDED, f"session ended: {reason}")
                continue
            await self._tell(eio_sid, reason, reconnect)
            with logged(log, "a connection of an ended session could not be closed"):
                await self._server.close_connection(eio_sid, disconnect=not reconnect)
        if eio_sids:
            self.closing.observe(perf_counter() - began)

    async def close_all(self, *, spread: float = 0.0) -> None:
        """Close every connection; official clients come back by themselves.

        With `spread` (seconds) they are closed in batches, so that they do not all come at once.
        """
        eio_sids = list(self._session_ids)
        most = max(1, math.ceil(spread / _SHORTEST_PAUSE))
        size = max(_SMALLEST_BATCH if spread else 1, math.ceil(len(eio_sids) / most))
        pause = spread / math.ceil(len(eio_sids) / size) if eio_sids else 0.0
        for start in range(0, len(eio_sids), size):
            if start and spread:
                await asyncio.sleep(pause)
            for eio_sid in eio_sids[start : start + size]:
                with logged(log, "a connection could not be closed"):
                    if eio_sid in self._plain:
                        self._plain[eio_sid](GOING_AWAY, "server shutdown")
                        continue
                    await self._server.close_connection(eio_sid, reason=CloseReason.SHUTDOWN)

    async def _tell(self, eio_sid: str, reason: Reason, reconnect: bool) -> None:
        manager = self._server.manager
        for namespace in list(manager.get_namespaces()):
            sid = manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is None:
                continue
            with logged(log, "the end of a session could not be announced in %s", namespace):
                await self._server.emit(
                    "session ended",
                    {"reason": reason, "reconnect": reconnect},
                    to=sid,
                    namespace=namespace,
                    ignore_queue=True,
                )
