"""The rules that every handshake passes, of Socket.IO and of plain WebSockets."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from app.services import Services
from app.sessions.session import Session
from app.web.errors import TooManyRequests


class Unavailable(HTTPError):
    """503: the store is down, or the process stops; another attempt may succeed in `wait` s."""

    wait = 1

    def __init__(self, why: str) -> None:
        super().__init__(503, why)


class Admission:
    """One handshake, from its first check until it is a connection or refused."""

    def __init__(self, services: Services, remote_address: str) -> None:
        self._services = services
        self._remote_address = remote_address
        self._session_id = ""  # of the session in which a place is reserved

    async def check(self) -> None:
        """Refuse a handshake while the process stops (503), or of an address too fast (429)."""
        if self._services.stopping:
            raise Unavailable("this process is about to stop")
        wait = await self._services.limits.handshake(self._remote_address)
        if wait:
            self._services.counters.limits["handshakes_per_minute"] += 1
            raise TooManyRequests(wait, "too many handshakes from this address")

    def reserve(self, session: Session[Any]) -> None:
        """Reserve a place among the connections of a session, or refuse the handshake (429)."""
        maximum = self._services.settings.max_connections_per_session
        if not self._services.connections.reserve(session.id, maximum):
            self._services.counters.limits["max_connections_per_session"] += 1
            raise HTTPError(429, "too many connections of one session")
        self._session_id = session.id

    def finish(self) -> None:
        """Give the place back: the handshake is refused, or is a connection by now."""
        if self._session_id:
            self._services.connections.release(self._session_id)
            self._session_id = ""
