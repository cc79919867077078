"""The base class of a fork's Socket.IO namespaces."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, ClassVar, Generic

from app.accounts import RoleRequired, required_roles
from app.common.histogram import Histogram
from app.database import DatabaseUnavailable
from app.services import Services
from app.sessions.codec import D
from app.sessions.room_name import user_room
from app.sessions.session import Session, SessionEnded, SessionFor
from app.sockets.clients import Client, Clients, set_current
from app.sockets.connection_refused import ConnectionRefused
from app.sockets.event_data_checks import InvalidArguments
from app.sockets.event_errors import EventErrors
from app.sockets.event_handlers import EventHandlers
from app.sockets.event_table import event_table
from app.sockets.handler_method import EventHandler
from app.sockets.role_checks import RoleChecks
from app.sockets.socket_context import SocketContext
from app.sockets.typed_namespace import TypedNamespace
from app.stores import StoreError

log = logging.getLogger("latchkey.sockets")


class BaseNamespace(TypedNamespace, Generic[D]):
    """A Socket.IO namespace whose events share the session with the pages.

    Methods are named `on_EVENT`, or have the decorator `event`, and take the sid and what the
    client sent. What they return is the ack; an error that is the client's or the store's is acked
    as `{"error": sentence}`. `on_any(sid, event, *args)` handles the events without a method.
    """

    login_required: ClassVar[bool] = False
    #: If above 0, events run only for users who have proven who they are in so many minutes; others
    #: get the ack `{"error": "reauthenticate"}`. `@event(recent_sign_in=…)` says so of one event.
    recent_sign_in: ClassVar[float] = 0
    #: The role that users need to be in the namespace, or several of which they need one. Sockets
    #: of a user who loses it leave.
    role_required: ClassVar[RoleRequired] = ()
    #: If true, the events of one client run one after the other, in the order in which it sent
    #: them, and then `on_disconnect`. Otherwise an event that waits lets the next one start.
    ordered: ClassVar[bool] = False
    #: If true, arguments and results are checked by the annotations of the methods.
    validate: ClassVar[bool] = False
    #: If true, an event without a method gets no ack and no line in the log.
    ignore_unknown: ClassVar[bool] = False

    #: The pattern of this namespace, or its name; metrics show it.
    pattern: str
    #: The values of a pattern's fields in `namespace`, by name. Set when `__init__` has returned.
    parameters: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, namespace: str, services: Services) -> None:
        super().__init__(namespace)
        self.services = services
        self.pattern = namespace
        self._clients = Clients()
        table = event_table(type(self))
        self._role_checks = RoleChecks(services, self._clients, table.roles)
        self._handlers = EventHandlers(self, table, self._seconds, self._role_checks.before)
        self._by_event = self._handlers.by_event
        self._errors = EventErrors(services, namespace)
        self._has_own_check = type(self).before_event is not BaseNamespace.before_event

    # -- called by the server --

    async def on_user_join(self, user_id: str) -> None:
        """Act on the first socket of a user in this namespace, at any process of the site.

        One process is told.
        """

    async def on_user_leave(self, user_id: str) -> None:
        """Act on the last socket of a user that left this namespace two seconds ago.

        One process is told. `self` may be new, without clients.
        """

    @property
    def has_user_hooks(self) -> bool:
        """Whether a subclass wants to know of users who join or leave."""
        kind = type(self)
        return (
            kind.on_user_join is not BaseNamespace.on_user_join
            or kind.on_user_leave is not BaseNamespace.on_user_leave
        )

    # -- for handlers --

    def session_for(self, sid: str) -> SessionFor[D]:
        """`await` it to read the session as it is now; `async with` it to edit.

        It works until `on_disconnect` returns, and after that, while the session lives, in tasks
        that were started by this client's events. Raises `UnknownSocket` for any other sid.
        """
        return self.services.sessions.session_of(self._clients[sid].context)

    async def user_for(self, sid: str) -> str | None:
        """Name of the user who signed in, or None."""
        session: Session[D] = await self.session_for(sid)
        return session.user

    async def has_role(self, sid: str, *roles: str) -> bool:
        """Whether the user of a client has one of these roles, as of a second ago at most."""
        return await self._role_checks.has_any(sid, required_roles(roles))

    def charge(self, sid: str, events: int) -> None:
        """Count the event under way as so many, for a handler that costs more than others.

        Call it before the first `await`. The client's next event waits until these are paid for
        at --events-per-second; of 200 a second, an event that counts as 10 comes 20 times.
        """
        peer = self.server.peer_of(sid, self.namespace)
        if peer is not None:
            peer.connection.bucket.charge(events - 1)

    def emit_to_session(self, sid: str, event: str, data: Any = None) -> Awaitable[None]:
        """Send an event to the other sockets of the same session in this namespace."""
        room, rooms = self._clients[sid].room, self.server.manager
        if rooms.is_only_member(self.namespace, room, sid):
            done: Awaitable[None] = self.server.done
            return done
        # past AsyncServer.emit, which logs each one
        sent: Awaitable[None] = rooms.emit(event, data, self.namespace, room=room, skip_sid=sid)
        return sent

    async def drained(self, sid: str) -> bool:
        """Wait until the client has taken most of what it was sent.

        An emit never waits. A handler that sends much awaits this after each emit:

            for row in rows:
                await self.emit("row", row, to=sid)
                if not await self.drained(sid):
                    return  # the client has left

        It returns True as soon as no more than `--send-buffer` bytes wait for the client, which
        is at once for most clients. It returns False if the client has left, or is connected to
        another process. A client that takes nothing for `--send-timeout` seconds is closed
        ("client reads too slowly"), which ends the wait as well. In `on_connect` nothing is sent
        before the handler returns, so it does not wait there.
        """
        peer = self.server.peer_of(sid, self.namespace)
        return peer is not None and await peer.drained(self.namespace)

    def before_event(self, sid: str, event: str) -> Awaitable[None]:
        """Run before every event: the session must be alive, and this counts as activity.

        A fork may override it; raising SessionEnded closes the connection.
        """
        return self.services.sessions.mark_connection_active(self._clients[sid].context)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Dispatch one event (python-socketio calls this)."""
        handler = self._by_event.get(event)
        if handler is None:
            if event in ("connect", "disconnect"):
                return await (self._connect if event == "connect" else self._disconnect)(*args)
            handler = self._handlers.find(event)
            if handler is None:
                return self._refuse(event, None, len(args) - 1)
        sid: str = args[0]
        began = perf_counter()
        try:
            if not handler.minimum <= len(args) <= handler.maximum:
                return self._refuse(event, handler, len(args) - 1)
            client = self._clients[sid]
            set_current(client)
            # what this class's `before_event` does, and nearly always without a wait
            if self._has_own_check or not self.services.sessions.try_mark_active(
                client.context.session_id
            ):
                await self.before_event(sid, event)
            result = handler.method(*args)
            if handler.is_async:
                result = await result
            # python-socketio acks None with no argument at all; a client expects null
            return (None,) if result is None else result
        except Exception as error:
            return await self._errors.report(self._clients[sid].session_id, event, error)
        finally:
            handler.seconds.observe(perf_counter() - began)

    def _refuse(self, event: str, handler: EventHandler | None, count: int) -> Any:
        if handler is None and self.ignore_unknown:
            self._errors.count("unknown")
            return self.server.not_handled
        return self._errors.refuse(event, handler, count)

    def _seconds(self, event: str) -> Histogram:
        """Return the durations of an event; all namespaces of a pattern share them."""
        return self.services.counters.event(self.pattern, event)

    # -- for traces --

    def shown_event(self, event: str) -> str:
        """Return the name of an event that this class has, else "any" or "unknown"."""
        found = self._handlers.find(event)
        if event in self._by_event:
            return event
        return "unknown" if found is None else "any"

    def opened_in(self, sid: str) -> object:
        """Return the reference of the span in which a client's connection was opened."""
        client = self._clients.get(sid)
        return None if client is None else client.context.opened_in

    # -- clients --

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> Any:
        try:
            return await self._admit(sid, environ, auth)
        except (StoreError, DatabaseUnavailable) as error:
            raise ConnectionRefused(self._errors.refuse_client(error)) from None

    async def _admit(self, sid: str, environ: dict[str, Any], auth: Any) -> Any:
        context: SocketContext = self.server.get_context(sid, self.namespace)
        try:
            session: Session[D] = await self.services.sessions.session_of(context)
        except SessionEnded:
            await self.services.sessions.announce_missing(context.session_id)
            raise ConnectionRefused("session ended") from None
        if session.user is None and (self.login_required or self._role_checks.needed):
            raise ConnectionRefused("unauthorized")
        client = self._clients[sid] = Client(
            sid, context, session.user_id, is_user=session.actor is None
        )
        set_current(client)
        self._join(client)
        accepted = False
        try:
            if self._role_checks.needed:
                await self._role_checks.admit(client, functools.partial(self.disconnect, sid))
            hook = self._handlers.hook("connect")
            verdict = None if hook is None else await hook.call(sid, environ, auth)
            accepted = verdict is not False
        except InvalidArguments as error:
            self.services.client_log.add(self.namespace, f"CONNECT: {error}")
            raise ConnectionRefused(str(error)) from None
        finally:
            if not accepted:
                self._forget(client)
        if client.present_user is not None:
            self.services.presence.here.accept(self.namespace, client.present_user)
        return verdict

    def _join(self, client: Client) -> None:
        """Let a client enter the rooms of its session and its user."""
        # past AsyncServer.enter_room, which logs each one
        enter = self.server.manager.basic_enter_room
        enter(client.sid, self.namespace, client.room)
        if client.user_id is not None:
            enter(client.sid, self.namespace, user_room(client.user_id))
        if client.present_user is not None:
            self.services.presence.here.enter(self.namespace, client.present_user)

    def _forget(self, client: Client) -> None:
        self._clients.pop(client.sid, None)
        self._role_checks.forget(client.sid)
        if client.present_user is not None:
            self.services.presence.here.leave(self.namespace, client.present_user)

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        hook, client = self._handlers.hook("disconnect"), self._clients.get(sid)
        set_current(client)
        try:
            if hook is not None:
                await hook.call(sid, reason)
        except SessionEnded:
            log.debug("on_disconnect found its session ended")
        except Exception:
            log.exception("on_disconnect of namespace %r failed", self.namespace)
        finally:
            if client is not None:
                self._forget(client)
