"""What a fork's sockets subclass."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, ClassVar, Generic

import socketio
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused

from app.common.histogram import Histogram
from app.services import Services
from app.sessions.codec import D
from app.sessions.session import Session, SessionEnded, SessionFor
from app.sockets.clients import Client, Clients, begin_event
from app.sockets.context import SocketContext
from app.stores import StoreError

log = logging.getLogger("latchkey.sockets")


class _Handler:
    """A method that handles an event, and how many arguments it takes."""

    __slots__ = ("fewest", "method", "most", "seconds", "waits")

    def __init__(self, method: Callable[..., Any], seconds: Histogram) -> None:
        self.method = method
        self.seconds = seconds  # where its durations are counted
        self.waits = inspect.iscoroutinefunction(method)
        few = many = 0
        for parameter in inspect.signature(method).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                many = sys.maxsize
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                many += 1
                few += parameter.default is parameter.empty
        self.fewest, self.most = few, many

    def fitting(self, *arguments: Any) -> tuple[Any, ...]:
        """Leave out the last arguments that a short signature does not want."""
        return arguments[: self.most]


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
        self._handlers: dict[str, _Handler] = {}
        self._asks_first = type(self).before_event is not BaseNamespace.before_event

    def session_for(self, sid: str) -> SessionFor[D]:
        """`await` it to read the session as it is now; `async with` it to edit.

        It works until `on_disconnect` returns, and after that, while the session lives, in tasks
        that were started by this client's events. Raises `UnknownSocket` for any other sid.
        """
        return self.services.sessions.session_for(self._clients[sid].session_id)

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
        room, rooms = self._clients[sid].room, self.server.manager
        if rooms.nobody_else(self.namespace, room, sid):
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
                    return  # the client has gone

        It returns True as soon as no more than `--send-buffer` bytes wait for the client, which
        is at once for most clients. It returns False if the client has gone, or is connected to
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
        return self.services.sessions.mark_active(self._clients[sid].session_id)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Dispatch one event (python-socketio calls this)."""
        if event in ("connect", "disconnect"):
            return await (self._connect if event == "connect" else self._disconnect)(*args)
        sid: str = args[0]
        began, handler = perf_counter(), None
        try:
            handler = self._handlers.get(event) or self._handler(event)
            if handler is None:
                self._count("unknown")
                self.services.client_log.add(self.namespace, f"unknown event {event[:100]!r}")
                return {"error": "unknown event"}
            if not handler.fewest <= len(args) <= handler.most:
                self._count("arguments")
                count = len(args) - 1
                why = f"event {event[:100]!r} came with {count} arguments"
                self.services.client_log.add(self.namespace, why)
                return {"error": f"{event} does not take {count} arguments"}
            client = self._clients[sid]
            begin_event(client)
            # what this class's `before_event` does, and nearly always without a wait
            if self._asks_first or not self.services.sessions.try_mark_active(client.session_id):
                await self.before_event(sid, event)
            result = handler.method(*args)
            result = await result if handler.waits else result
            # python-socketio acks None with no argument at all; a client expects null
            return (None,) if result is None else result
        except SessionEnded as error:
            return await self._ended(sid, event, error)
        except StoreError as error:
            self._count("store")
            self.services.outage_log.add(self.namespace, f"event {event[:100]!r}: {error}")
            return {"error": "the session store does not answer; try again"}
        except Exception:
            self._count("internal")
            log.exception("event %r failed", event[:100])
            return {"error": "internal error"}
        finally:
            if handler is not None:
                handler.seconds.observe(perf_counter() - began)

    async def _ended(self, sid: str, event: str, error: SessionEnded) -> dict[str, str]:
        """Close the sockets of the ended session, which may be another client's."""
        session_id = self._clients[sid].session_id
        ended = error.session_id or session_id
        await self.services.sessions.announce_missing(ended)
        if ended == session_id:
            self._count("ended")
            return {"error": "the session has ended"}
        self._count("internal")
        log.error("event %r failed: the session of another client has ended", event[:100])
        return {"error": "internal error"}

    def _count(self, error: str) -> None:
        self.services.counters.event_errors[error] += 1

    def _handler(self, event: str) -> _Handler | None:
        """Return the method of an event, remembered only where there is one."""
        handler = self._handlers.get(event)
        if handler is None and (method := getattr(self, "on_" + event, None)) is not None:
            seconds = self.services.counters.event(self.namespace, event)
            handler = self._handlers[event] = _Handler(method, seconds)
        return handler

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> Any:
        context: SocketContext = self.server.get_context(sid, self.namespace)
        session_id = context.session_id
        session = await self.services.sessions.load(session_id)
        if session is None:
            await self.services.sessions.announce_missing(session_id)
            raise ConnectionRefused("session ended")
        if self.login_required and session.user is None:
            raise ConnectionRefused("unauthorized")
        client = self._clients[sid] = Client(sid, session_id)
        begin_event(client)
        # past AsyncServer.enter_room, which logs each one
        self.server.manager.basic_enter_room(sid, self.namespace, client.room)
        handler = self._handler("connect")
        try:
            accepted = handler and handler.method(*handler.fitting(sid, environ, auth))
            if inspect.isawaitable(accepted):
                accepted = await accepted
        except BaseException:
            del self._clients[sid]
            raise
        if accepted is False:
            del self._clients[sid]
        return accepted

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        handler = self._handler("disconnect")
        begin_event(self._clients.get(sid))
        try:
            if handler is not None:
                result = handler.method(*handler.fitting(sid, reason))
                if inspect.isawaitable(result):
                    await result
        except SessionEnded:
            log.debug("on_disconnect found its session ended")
        except Exception:
            log.exception("on_disconnect of namespace %s failed", self.namespace)
        finally:
            self._clients.pop(sid, None)
