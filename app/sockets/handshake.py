"""The Socket.IO endpoint: origin, session, cookie and limits, before anything is accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tornado.web import HTTPError

from app.sessions.session import Session, SessionEnded
from app.sockets.context import SocketContext
from app.stores import StoreError
from app.transport import EngineServer, SocketHandler, UnknownSid
from app.web.origin import trusted_origin
from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup

#: Refuses a handshake by raising `tornado.web.HTTPError`.
HandshakeHook = Callable[["HandshakeHandler"], Awaitable[None] | None]


class HandshakeHandler(SecurityHeaders, SessionLookup[Any], SocketHandler):
    """Serves /socket.io/: a handshake always has a session, made and stored if need be.

    A refusal is a real 4xx before the 101. The session's cookie stands on the initial headers
    of both transports: on the polling response and on the 101.
    """

    def initialize(
        self, engine: EngineServer, before_handshake: Sequence[HandshakeHook] = ()
    ) -> None:
        """`before_handshake` are called in this order; each may refuse the handshake."""
        super().initialize(engine)
        self._hooks = before_handshake

    _retry_after = 0  # seconds; 0: the refusal says nothing of it
    _admitted = ""  # id of the session in which this handshake is counted

    def check_request(self) -> None:
        """Refuse what may not come from where it comes from (403)."""
        error = self.origin_error(self.check_trusted_origin)
        if error is not None:
            raise HTTPError(403, error)

    async def authorize(self, eio_sid: str | None) -> None:
        """Find the session of a handshake, or make sure that a request may use this connection."""
        try:
            if eio_sid is None:
                await self._begin()
            else:
                await self._go_on(eio_sid)
        except StoreError as error:
            self._retry_after = 1
            raise HTTPError(503, str(error)) from error
        except SessionEnded as error:
            raise HTTPError(401, "the session has ended") from error

    async def _begin(self) -> None:
        services = self.services
        if services.stopping:
            self._retry_after = 1
            raise HTTPError(503, "this process is about to stop")
        wait = services.limits.handshake(self.remote_address)
        if wait:
            services.counters.limits["handshakes_per_minute"] += 1
            self._retry_after = wait
            raise HTTPError(429, "too many handshakes from this address")
        shown = self.shown_session_ids()
        found = await self.find_session() if shown else None
        self._shown = found is not None
        self._dead_ids = [id for id in shown if not found or id != found.id]
        most = services.settings.max_connections_per_session
        if found:
            if not services.connections.admit(found.id, most):
                services.counters.limits["max_connections_per_session"] += 1
                raise HTTPError(429, "too many connections of one session")
            self._admitted = found.id
        # first, so that whom a hook refuses leaves no record behind
        session = await self._ask_hooks(found) if self._hooks else found
        self.session = session or await services.sessions.create(
            remote_address=self.remote_address, user_agent=self.user_agent
        )
        if found:
            services.sessions.touch(self.session)
        else:
            self.send_cookie(self.session)
        if self.session.record is not None:
            services.expiry.watch_connected(self.session.record)

    async def _ask_hooks(self, found: Session[Any] | None) -> Session[Any]:
        """Let the fork refuse the handshake; return its session, which a hook may have stored."""
        self.session = found or self.visitor()
        for hook in self._hooks:
            verdict = hook(self)
            if verdict is not None:
                await verdict
        return self.session

    async def _go_on(self, eio_sid: str) -> None:
        """Only the session that an Engine.IO id was made for may use it.

        The id stands in URLs and logs, so it is no secret. A client that has ever shown the
        session's cookie must go on doing so; one that keeps no cookies at all still works.
        """
        # also known for a while after the end, for the polls that fetch the last packets
        connection = self.engine.find(eio_sid)
        if connection is None:
            raise UnknownSid
        context: SocketContext = connection.context
        # a client that keeps no cookies may have been given one that was dead from the start
        shown = [id for id in self.shown_session_ids() if id not in context.dead_ids]
        if context.session_id in shown:
            if not context.shown:
                context.shown = True
                with contextlib.suppress(StoreError):  # the connection goes on without it
                    await self.services.sessions.cookie_returned(context.session_id)
        elif context.shown or (shown and not self._may_lack_credentials()):
            raise UnknownSid

    def _may_lack_credentials(self) -> bool:
        """Return whether this is a page of a trusted origin, which may have no credentials.

        Without `withCredentials` a browser leaves the cookies out of its polls, and sends them
        with a WebSocket all the same: they may be another session's then.
        """
        return trusted_origin(self.request, self.web.trusted_origins) is not None

    def on_finish(self) -> None:
        super().on_finish()
        if self.request.method == "GET" and not self._query("sid"):
            self.services.counters.handshake(self.get_status())
        if self._admitted:
            self.services.connections.admitted(self._admitted)
            self._admitted = ""

    def context(self) -> SocketContext:
        """Return what the connection knows of its session."""
        return SocketContext(self.session.id, self._shown, self._dead_ids)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer as the transport does; an error begins without the headers that were set."""
        if self._retry_after:
            self.set_header("Retry-After", str(self._retry_after))
        super().write_error(status_code, **kwargs)
