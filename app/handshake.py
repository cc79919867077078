"""The Socket.IO endpoint: origin, session, cookie and limits, before anything is accepted."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from app.lookup import SessionLookup
from app.origin import origin_error, trusted_origin
from app.security import SecurityHeaders
from app.session import SessionEnded
from app.stores import StoreError
from app.transport import SocketHandler, UnknownSid


class HandshakeHandler(SecurityHeaders, SessionLookup[Any], SocketHandler):
    """Serves /socket.io/: a handshake always has a session, made and stored if need be.

    A refusal is a real 4xx before the 101. The session's cookie stands on the initial headers
    of both transports: on the polling response and on the 101.
    """

    def check_request(self) -> None:
        """Refuse what may not come from where it comes from (403)."""
        trusted = self.services.settings.trusted_origins
        error = origin_error(self.request, trusted)
        if error is not None:
            raise HTTPError(403, error)
        origin = trusted_origin(self.request, trusted)
        if origin is not None:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
            self.set_header("Vary", "Origin")
            if self.request.method == "OPTIONS":
                self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
                self.set_header("Access-Control-Allow-Headers", "Content-Type")

    async def authorize(self, eio_sid: str | None) -> None:
        """Find the session of a handshake, or make sure that a request may use this connection."""
        try:
            if eio_sid is None:
                await self._begin()
            else:
                self._go_on(eio_sid)
        except StoreError as error:
            self.set_header("Retry-After", "1")
            raise HTTPError(503, str(error)) from error
        except SessionEnded as error:
            raise HTTPError(401, "the session has ended") from error

    async def _begin(self) -> None:
        services = self.services
        if services.stopping:
            self.set_header("Retry-After", "1")
            raise HTTPError(503, "this server is about to stop")
        wait = services.limits.handshake(self.remote_address)
        if wait:
            self.set_header("Retry-After", str(wait))
            raise HTTPError(429, "too many handshakes from this address")
        session = await self.find_session()
        self._shown = session is not None
        if session is None:
            session = await services.sessions.create(
                remote_address=self.remote_address, user_agent=self.user_agent
            )
            self.send_cookie(session)
        most = services.settings.max_connections_per_session
        if most and services.connections.count(session.id) >= most:
            raise HTTPError(429, "too many connections of one session")
        self.session = session
        for hook in services.before_handshake:
            await hook(self)
        services.sessions.touch(session)
        services.expiry.watch(session.id, session.expires)

    def _go_on(self, eio_sid: str) -> None:
        """Only the session that an Engine.IO id was made for may use it (HOLES 4)."""
        connection = self.services.connections.get(eio_sid)
        if connection is None:
            raise UnknownSid
        shown = self.shown_session_ids()
        if connection.session_id in shown:
            connection.shown = True
        elif shown or connection.shown:
            raise UnknownSid

    def environ(self) -> dict[str, Any]:
        """Return what python-socketio promises its handlers, and the session's id."""
        environ: dict[str, Any] = super().environ()
        environ["latchkey.session_id"] = self.session.id
        environ["latchkey.shown"] = self._shown
        return environ
