"""The base class of a fork's Socket.IO namespaces."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, ClassVar, Generic

import socketio
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused

from app.database import DatabaseUnavailable
from app.services import Services
from app.sessions.codec import D
from app.sessions.session import Session, SessionEnded, SessionFor
from app.sockets.clients import Clients, set_current
from app.sockets.handler_method import EventHandler
from app.sockets.socket_context import SocketContext
from app.stores import StoreError

log = logging.getLogger("latchkey.sockets")


class BaseNamespace(socketio.AsyncNamespace, Generic[D]):
    """A Socket.IO namespace whose events share the session with the pages.

    Methods are named `on_EVENT` and take the sid and what the client sent. What they return is
    the ack; an error that is the client's or the store's is acked as `{"error": sentence}`.
    """

    login_required: ClassVar[bool] = False
    #: If true, the events of one client run one after the other, in the order in which it sent
    #: them, and then `on_disconnect`. Otherwise an event that waits lets the next one start.
    ordered: ClassVar[bool] = False

    def __init__(self, namespace: str, services: Services) -> None:
        super().__init__(namespace)
        self.services = services
        self._clients = Clients()
        self._handlers: dict[str, EventHandler] = {}
        self._has_own_check = type(self).before_event is not BaseNamespace.before_event

    def session_for(self, sid: str) -> SessionFor[D]:
        """`await` it to read the session as it is now; `async with` it to edit.

        It works until `on_disconnect` returns, and after that, while the session lives, in tasks
        that were started by this client's events. Raises `UnknownSocket` for any other sid.
        """
        return self.services.sessions.session_for(self._clients.get(sid).context.session_id)

    async def user_for(self, sid: str) -> str | None:
        """Name of the user who signed in, or None."""
        session: Session[D] = await self.session_for(sid)
        return session.user

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
        room, rooms = self._clients.get(sid).room, self.server.manager
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
        return self.services.sessions.mark_active(self._clients.get(sid).session_id)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Dispatch one event (python-socketio calls this)."""
        if event in ("connect", "disconnect"):
            return await (self._connect if event == "connect" else self._disconnect)(*args)
        sid: str = args[0]
        began, handler = perf_counter(), None
        try:
            handler = self._handlers.get(event) or self._find_handler(event)
            if handler is None or not handler.minimum <= len(args) <= handler.maximum:
                return self._refuse(event, handler, len(args) - 1)
            client = self._clients.get(sid)
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
            return await self._report(sid, event, error)
        finally:
            if handler is not None:
                handler.seconds.observe(perf_counter() - began)

    # -- errors, which are acked as {"error": sentence} --

    def _refuse(self, event: str, handler: EventHandler | None, count: int) -> dict[str, str]:
        """Refuse an event without a handler, or with another number of arguments than it takes."""
        if handler is None:
            self._count_error("unknown")
            self.services.client_log.add(self.namespace, f"unknown event {event[:100]!r}")
            return {"error": "unknown event"}
        self._count_error("arguments")
        why = f"event {event[:100]!r} came with {count} arguments"
        self.services.client_log.add(self.namespace, why)
        return {"error": f"{event} does not take {count} arguments"}

    async def _report(self, sid: str, event: str, error: Exception) -> dict[str, str]:
        """Log and count the error of a handler; return what the client is told of it."""
        if isinstance(error, SessionEnded):
            return await self._report_ended(sid, event, error)
        if isinstance(error, StoreError):
            self._count_error("store")
            self.services.outage_log.add(self.namespace, f"event {event[:100]!r}: {error}")
            return {"error": "the session store does not answer; try again"}
        if isinstance(error, DatabaseUnavailable):
            self._count_error("database")
            self.services.outage_log.add(self.namespace, f"event {event[:100]!r}: {error}")
            return {"error": str(error)}
        self._count_error("internal")
        log.error("event %r failed", event[:100], exc_info=error)
        return {"error": "internal error"}

    async def _report_ended(self, sid: str, event: str, error: SessionEnded) -> dict[str, str]:
        """Close the sockets of the ended session, which may be another client's."""
        own = self._clients.get(sid).session_id
        ended = error.session_id or own
        await self.services.sessions.announce_missing(ended)
        if ended == own:
            self._count_error("ended")
            return {"error": "the session has ended"}
        self._count_error("internal")
        log.error("event %r failed: the session of another client has ended", event[:100])
        return {"error": "internal error"}

    def _count_error(self, kind: str) -> None:
        self.services.counters.event_errors[kind] += 1

    # -- handlers --

    def _find_handler(self, event: str) -> EventHandler | None:
        """Return the method of an event, and remember it; None if there is none."""
        handler = self._handlers.get(event)
        if handler is None and (method := getattr(self, "on_" + event, None)) is not None:
            seconds = self.services.counters.event(self.namespace, event)
            handler = self._handlers[event] = EventHandler(method, seconds)
        return handler

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> Any:
        context: SocketContext = self.server.get_context(sid, self.namespace)
        session = await self.services.sessions.load(context.session_id)
        if session is None:
            await self.services.sessions.announce_missing(context.session_id)
            raise ConnectionRefused("session ended")
        if self.login_required and session.user is None:
            raise ConnectionRefused("unauthorized")
        client = self._clients.add(sid, context)
        set_current(client)
        # past AsyncServer.enter_room, which logs each one
        self.server.manager.basic_enter_room(sid, self.namespace, client.room)
        handler = self._find_handler("connect")
        accepted = False
        try:
            verdict = None if handler is None else await handler.call(sid, environ, auth)
            accepted = verdict is not False
        finally:
            if not accepted:
                self._clients.remove(sid)
        return verdict

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        handler = self._find_handler("disconnect")
        set_current(self._clients.find(sid))
        try:
            if handler is not None:
                await handler.call(sid, reason)
        except SessionEnded:
            log.debug("on_disconnect found its session ended")
        except Exception:
            log.exception("on_disconnect of namespace %s failed", self.namespace)
        finally:
            self._clients.remove(sid)
