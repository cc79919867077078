"""The Socket.IO endpoint: origin, session, cookie and limits, before anything is accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tornado.web import HTTPError

from app.common.log_context import span
from app.database import DatabaseUnavailable
from app.rate_limits import subscriber
from app.sessions.session import Session, SessionEnded
from app.sockets.handshake_limits import Admission, Unavailable
from app.sockets.handshake_session import open_session
from app.sockets.socket_context import SocketContext
from app.stores import StoreError
from app.transport import EngineServer, SocketHandler, UnknownSid
from app.web.cors import trusted_origin
from app.web.errors import TooManyRequests
from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup

#: Refuses a handshake by raising `tornado.web.HTTPError`.
HandshakeHook = Callable[["HandshakeHandler"], Awaitable[None] | None]


class HandshakeHandler(SecurityHeaders, SessionLookup[Any], SocketHandler):
    """Serves /socket.io/. A handshake always has a session, which is stored if it is new.

    A refusal is a real 4xx before the 101. The session's cookie is on the first response of both
    transports: on that of the first poll and on the 101.
    """

    _admission: Admission | None = None

    def initialize(
        self, engine: EngineServer, before_handshake: Sequence[HandshakeHook] = ()
    ) -> None:
        """`before_handshake` are called in this order; each may refuse the handshake."""
        super().initialize(engine)
        self._hooks = before_handshake

    def check_request(self) -> None:
        """Refuse a request of a foreign origin (403)."""
        error = self.origin_error(self.check_trusted_origin)
        if error is not None:
            raise HTTPError(403, error)

    async def authorize(self, eio_sid: str | None) -> None:
        """Find the session of a handshake, or check that a request may use this connection."""
        try:
            if eio_sid is None:
                await self._begin()
            else:
                await self._check_connection(eio_sid)
        except (StoreError, DatabaseUnavailable) as error:
            raise Unavailable(str(error)) from error
        except SessionEnded as error:
            raise HTTPError(401, "the session has ended") from error

    async def _begin(self) -> None:
        self._admission = Admission(self.services, self.remote_address)
        await self._admission.check()
        cookie_ids = self.shown_session_ids()
        found = await self.find_session() if cookie_ids else None
        if found is not None:
            self._admission.reserve(found)
        self._cookie_returned = found is not None
        self._dead_ids = [id for id in cookie_ids if found is None or id != found.id]
        # hooks come first, so that a refused client leaves no record behind
        session = await self._call_hooks(found) if self._hooks else found
        self.session = await open_session(self, session, is_new=found is None)

    async def _call_hooks(self, found: Session[Any] | None) -> Session[Any]:
        """Let the fork refuse the handshake; return the session, which a hook may have stored."""
        self.session = found or self.visitor()
        for hook in self._hooks:
            refusal = hook(self)
            if refusal is not None:
                await refusal
        return self.session

    async def _check_connection(self, eio_sid: str) -> None:
        """Refuse a request that does not belong to the session of this connection.

        An Engine.IO id is in URLs and logs, so it is no secret. A client that has ever sent the
        session's cookie must go on sending it; a client that keeps no cookies still works.
        """
        # found for a while after the end too, for the polls that fetch the last packets
        connection = self.engine.find(eio_sid)
        if connection is None:
            raise UnknownSid
        context: SocketContext = connection.context
        # a client that keeps no cookies may send one that was invalid from the start
        cookie_ids = [id for id in self.shown_session_ids() if id not in context.dead_ids]
        if context.session_id in cookie_ids:
            if not context.cookie_returned:
                context.cookie_returned = True
                with contextlib.suppress(StoreError):  # the connection goes on without it
                    await self.services.sessions.cookie_returned(context.session_id)
        elif context.accepts(cookie_ids) or await self._has_new_id(context, cookie_ids):
            pass
        elif context.cookie_returned or (cookie_ids and not self._may_lack_credentials()):
            raise UnknownSid

    async def _has_new_id(self, context: SocketContext, cookie_ids: list[str]) -> bool:
        """Whether a cookie is of the new id of this connection's session.

        Another process has given it, and the message about it is under way.
        """
        sessions = self.services.sessions
        if not (cookie_ids and sessions.store.shared and context.cookie_returned):
            return False
        await sessions.replacements.follow(context)
        return context.session_id in cookie_ids

    def _may_lack_credentials(self) -> bool:
        """Return whether this is a page of a trusted origin, which may have no credentials.

        Without `withCredentials` a browser leaves the cookies out of its polls, but sends them
        with a WebSocket, where they may be another session's.
        """
        return trusted_origin(self.request, self.web.trusted_origins) is not None

    def on_finish(self) -> None:
        super().on_finish()
        if self.request.method == "GET" and not self._query("sid"):
            self.services.counters.handshake(self.get_status())
        if self._admission is not None:
            self._admission.finish()

    def context(self) -> SocketContext:
        """Return the session of the new connection."""
        network = subscriber(self.remote_address)
        here = span.get()
        return SocketContext(
            *(self.session.id, network, self._cookie_returned, self._dead_ids, self.request_id),
            opened_in=None if here is None else here.reference,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer as the transport does, and say when to try again."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, TooManyRequests | Unavailable):
            self.set_header("Retry-After", str(error.wait))
        super().write_error(status_code, **kwargs)
