"""The base class of a fork's plain WebSockets, which use another protocol than Socket.IO."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Generic

from tornado.iostream import IOStream
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from app.database import DatabaseUnavailable
from app.rate_limits import subscriber
from app.sessions.codec import D
from app.sessions.session import Session, SessionEnded, SessionFor
from app.sockets.handshake_limits import Admission, Unavailable
from app.sockets.handshake_session import open_session
from app.sockets.session_connection import SESSION_ENDED
from app.sockets.socket_context import SocketContext
from app.stores import StoreError
from app.transport.tornado_private import reason_phrase
from app.web.errors import TooManyRequests
from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup

log = logging.getLogger("latchkey.sockets")

_INTERNAL_ERROR, _TRY_AGAIN_LATER = 1011, 1013  # close codes (RFC 6455, 7.4)


class BaseWebSocket(SecurityHeaders, SessionLookup[D], WebSocketHandler, Generic[D]):
    """A WebSocket (RFC 6455) that shares the session with the pages.

    A subclass overrides `receive`, which gets one message at a time. `await self.session` reads
    the session, `async with self.session as data` edits it. The socket is closed with code 4401
    when its session ends.
    """

    #: Whether a visitor is refused with 401.
    login_required: ClassVar[bool] = False

    _context: SocketContext
    _admission: Admission | None = None

    @property
    def session(self) -> SessionFor[D]:
        """The session of this socket, also after it got a new id."""
        return self.services.sessions.session_of(self._context)

    async def receive(self, message: str | bytes) -> None:
        """Act on a message of the client; an error that is raised closes the socket."""

    # -- called by Tornado --

    async def prepare(self) -> None:
        """Find the session, or store a new one, and put its cookie on the 101."""
        if self.request.method != "GET":  # RFC 6455, 4.1
            raise HTTPError(405)
        error = self.origin_error(self.check_origin)
        if error is not None:
            raise HTTPError(403, error)
        try:
            session = await self._find_or_create()
        except (StoreError, DatabaseUnavailable) as error:
            raise Unavailable(str(error)) from error
        # a new session too lives as long as others: the client gets its cookie on the 101
        self.services.sessions.touch(session)
        self._context = SocketContext(session.id, subscriber(self.remote_address))

    async def _find_or_create(self) -> Session[D]:
        self._admission = Admission(self.services, self.remote_address)
        await self._admission.check()
        found: Session[D] | None = await self.find_session()
        if self.login_required and (found is None or found.user is None):
            raise HTTPError(401, "sign in first")
        if found is not None:
            self._admission.reserve(found)
        return await open_session(self, found, is_new=found is None)

    def detach(self) -> IOStream:
        """Take the connection over, and let it end with its session."""
        stream = super().detach()
        connections = self.services.connections
        stream.set_close_callback(connections.attach(self._context, self.close))
        self.services.background(self._check_session())
        return stream

    async def _check_session(self) -> None:
        """Close the socket if its session has ended during the handshake."""
        session_id = self._context.session_id
        try:
            if await self.services.sessions.load(session_id) is None:
                await self.services.sessions.announce_missing(session_id)
        except StoreError as error:  # it stays open
            self.services.outage_log.add(self.request.remote_ip, error)

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message to `receive` if the session is alive; it counts as activity."""
        if self.ws_connection is None or self.ws_connection.is_closing():
            return
        try:
            await self.services.sessions.mark_connection_active(self._context)
            await self.receive(message)
        except SessionEnded:
            self.close(SESSION_ENDED, "session ended")
        except StoreError as error:
            self.services.outage_log.add(self.request.remote_ip, error)
            self.close(_TRY_AGAIN_LATER, "the session store does not answer")
        except DatabaseUnavailable as error:
            self.services.outage_log.add(self.request.remote_ip, error)
            self.close(_TRY_AGAIN_LATER, "the database does not answer")
        except Exception:
            log.exception("a message of the WebSocket %s failed", self.request.path)
            self.close(_INTERNAL_ERROR, "internal error")

    def on_finish(self) -> None:
        """Stop counting the handshake, which is refused or about to become a connection."""
        if self._admission is not None:
            self._admission.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Refuse a handshake with a short text, which no browser shows."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, TooManyRequests):
            self.set_header("Retry-After", str(error.wait))
        self.finish(reason_phrase(self))
