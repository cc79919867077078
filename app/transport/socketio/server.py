"""The Socket.IO server: python-socketio's API over our Engine.IO server.

Of `socketio.AsyncServer` it keeps what writers of namespaces use. It replaces what python-socketio
does with a packet, because that accepts forged names, a second CONNECT and stray attachments, and
makes a task for every event. See also `Library` and `Rooms`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

from app.common.log_and_continue import logged
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import Connection
from app.transport.engineio.server import EngineServer
from app.transport.settings import TransportSettings
from app.transport.socketio.connection_callbacks import Listener
from app.transport.socketio.cut_off import cut_off
from app.transport.socketio.events import Around, Events
from app.transport.socketio.made_namespaces import MadeNamespaces
from app.transport.socketio.membership import Membership
from app.transport.socketio.packets import (
    CONNECT,
    DISCONNECT,
    EVENT,
    Limits,
    Packet,
    PacketError,
)
from app.transport.socketio.peer import Peer
from app.transport.socketio.python_socketio import EngineApi, Library
from app.transport.socketio.rooms import Rooms
from app.transport.tasks import Tasks

log = logging.getLogger("app.transport")

#: Seconds in which clients have to close their WebSockets when the process stops.
CLIENT_CLOSE_TIMEOUT = 0.5


class SocketServer(Library):
    """Socket.IO (protocol revision 5) for Tornado; requests come in through `SocketHandler`."""

    manager: Rooms
    environ: dict[str, dict[str, Any]]
    manager_initialized: bool
    #: What is awaited where there is nothing to wait for; set by the first connection.
    done: asyncio.Future[None]

    def __init__(
        self,
        settings: TransportSettings,
        *,
        listener: Listener | None = None,
        client_manager: Rooms | None = None,
        around_event: Around | None = None,
    ) -> None:
        # python-socketio logs every emit; this package logs the lines that matter
        quiet = logging.getLogger(f"{log.name}.socketio")
        quiet.setLevel(logging.WARNING)
        super().__init__(
            EngineApi(self.find_peer), client_manager=client_manager or Rooms(), logger=quiet
        )
        #: The open connections, by Engine.IO id.
        self.peers: dict[str, Peer] = {}
        #: Closed connections with clients whose disconnect handlers still run.
        self.leaving: dict[str, Peer] = {}
        self.tasks = Tasks()  # where handlers are started
        self.engine = EngineServer(settings, self)
        self.wheel = self.engine.wheel
        self.join_timeout = settings.join_timeout
        self.max_backlog = self.engine.max_backlog
        self.packet_limits = Limits(settings.max_message_size, settings.max_attachments)
        self._listener = listener or Listener()
        self.made = MadeNamespaces(self)
        self._membership = Membership(self)
        self._events = Events(self, self._listener.event_failed, around_event)

    # Connections

    def opened(self, connection: Connection) -> Peer:
        """Take a new connection of the Engine.IO server."""
        if not self.manager_initialized:
            self.manager_initialized = True
            self.manager.initialize()
            self.done = self.engine.loop.create_future()
            self.done.set_result(None)
        self.environ[connection.sid] = connection.environ
        peer = self.peers[connection.sid] = Peer(self, connection)
        self._listener.opened(peer)
        return peer

    def peer_upgraded(self, peer: Peer) -> None:
        self._listener.upgraded(peer)

    def peer_closed(self, peer: Peer, reason: str) -> None:
        self.peers.pop(peer.eio_sid, None)
        if peer.registered:
            self.leaving[peer.eio_sid] = peer
        for namespace in list(peer.clients):
            with logged(log, "a client of %s could not leave", namespace):
                self._membership.leave(peer, namespace, reason)
        if not peer.registered:
            self.forget(peer)
        self._listener.closed(peer, reason)

    def forget(self, peer: Peer) -> None:
        """Drop a closed connection of which no handler runs."""
        self.leaving.pop(peer.eio_sid, None)
        self.environ.pop(peer.eio_sid, None)

    def find_peer(self, eio_sid: str) -> Peer:
        """Return a connection that is open, or whose handlers still run; raise KeyError."""
        return self.peers.get(eio_sid) or self.leaving[eio_sid]

    def peer_of(self, sid: str, namespace: str | None = None) -> Peer | None:
        """Return the open connection of a client; None if it has closed or is elsewhere."""
        return self.peers.get(self.manager.eio_sid_from_sid(sid, namespace or "/") or "")

    def get_context(self, sid: str, namespace: str | None = None) -> Any:
        """Return the context of a client's connection, as `get_environ` returns its environ.

        Raises KeyError if it has none in this process.
        """
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        return self.find_peer(eio_sid or "").connection.context

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """Return "polling" or "websocket", for the sid of a connection or of a client."""
        if sid not in self.peers:
            sid = self.manager.eio_sid_from_sid(sid, namespace or "/") or sid
        return self.find_peer(sid).connection.transport.name

    # The end of the process

    async def finish(self, seconds: float, skip: asyncio.Event | None = None) -> None:
        """Wait for the handlers of closed connections, and for their clients to disconnect.

        Handlers have so many seconds. Clients have CLIENT_CLOSE_TIMEOUT, and so have handlers once
        `skip` is set.
        """
        began = self.engine.loop.time()
        # an event that wakes this would have to be kept by each connection
        while self.tasks.waiting() or self.engine.ending:
            passed = self.engine.loop.time() - began
            if passed >= seconds:
                break
            if passed >= CLIENT_CLOSE_TIMEOUT:
                self.engine.cut_ending()
                if skip is not None and skip.is_set():
                    break
            await asyncio.sleep(0.01)
        self.engine.cut_ending()
        await asyncio.sleep(0)

    async def cut_off(self, waited: float) -> None:
        """Cancel the handlers that still run after so many seconds, and log which."""
        await cut_off(self.tasks, waited)

    async def shutdown(self) -> None:
        """Close every connection and stop the timers."""
        await self.engine.shutdown()

    def instrument(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: the Admin UI replaces methods of python-engineio's own sockets."""
        raise NotImplementedError(
            "the Socket.IO Admin UI needs python-engineio's own sockets, which are not used "
            "here; /metrics tells Prometheus about connections, events and their durations"
        )

    # What clients send

    def act(self, peer: Peer, packet: Packet) -> None:
        """Act on a packet of a client; raise PacketError for what closes its connection."""
        kind, namespace = packet.type, packet.namespace
        sid = peer.clients.get(namespace)
        if kind == EVENT and sid is not None:
            self._events.event(peer, sid, packet)
        elif kind == CONNECT:
            self._membership.connect(peer, namespace, packet.data)
        elif sid is None:
            self._act_outside(peer, kind, namespace)
        elif kind == DISCONNECT:
            self._membership.leave(peer, namespace, Reason.CLIENT)
        else:
            self._events.ack(peer, sid, packet)

    def _act_outside(self, peer: Peer, kind: int, namespace: str) -> None:
        """Act on a packet for a namespace that the client is not in, or not yet.

        A client that was disconnected by the server, or that has left, may have sent it before.
        """
        if namespace in peer.joining and kind == DISCONNECT:
            self._membership.cancel_join(peer, namespace)
        elif not peer.is_late(namespace):
            raise PacketError("a packet for a namespace that was not joined")

    # python-socketio's API

    async def disconnect(
        self, sid: str, namespace: str | None = None, ignore_queue: bool = False
    ) -> None:
        """Disconnect a client; its transport closes with it unless other namespaces need it.

        The disconnect handler is started before this returns, and not waited for. A client whose
        connect handler still runs is disconnected as soon as that has accepted it: it gets the
        reply to its CONNECT and what the handler emitted, then a DISCONNECT.
        """
        namespace = namespace or "/"
        if not ignore_queue and not await self.manager.can_disconnect(sid, namespace):
            return  # another process was asked, or the client is leaving
        peer = self.peer_of(sid, namespace)
        if peer is None:
            return
        joining = peer.joining.get(namespace)
        if joining is not None and joining.sid == sid:
            joining.disconnected = True
        elif peer.clients.get(namespace) == sid:
            self._membership.disconnect(peer, namespace)

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send an event to a client, a room, several rooms, or all clients of the namespace.

        `to` or `room` is a sid, the name of a room, or a collection of both. All clients get it
        if both are None, and none if it is an empty collection or a room without clients. Raises
        ValueError for a `callback` and anything but one sid.
        """
        await self.manager.emit(
            event,
            data,
            namespace or "/",
            room=room if to is None else to,
            skip_sid=skip_sid,
            callback=callback,
            ignore_queue=ignore_queue,
        )

    async def call(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        sid: Any = None,
        namespace: str | None = None,
        timeout: float = 60,  # noqa: ASYNC109  # of python-socketio's API
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and return its acknowledgement.

        Raises ValueError for anything but a sid, and `socketio.exceptions.TimeoutError` after
        `timeout` seconds.
        """
        client = sid if to is None else to
        self.manager.check_callback(namespace or "/", client)
        return await super().call(
            event,
            data,
            to=client,
            namespace=namespace,
            timeout=timeout,
            ignore_queue=ignore_queue,
        )
