"""The Socket.IO server: who may join a namespace, and which handler an event goes to.

It keeps python-socketio's API for those who write namespaces, and takes over the inside. These
methods are replaced, and `tests/transport/test_contract.py` notices when a release moves one:

`socketio.AsyncServer`
    `emit`, `call`: an empty list of recipients is nobody, and a room has no callback.
    `_engineio_server_class`: our `Engine`. `_send_packet`, `_send_eio_packet`: no queues.
    `_handle_connect`, `_handle_event`, `_handle_ack`, `_handle_disconnect`, `_handle_eio_connect`,
    `_handle_eio_message`, `_handle_eio_disconnect`: not used; `receive`, `receive_attachment`,
    `connection_opened` and `connection_closed` stand in for them, because the stock ones accept
    forged names, a second CONNECT and stray attachments, and make a task for every event.
    `disconnect`: also closes a transport that is left without a namespace.
    `transport`: takes the sid of a connection too. `shutdown`: closes connections.
    `instrument`: is refused.
`engineio.AsyncServer`
    `send`, `send_packet`, `transport`, `get_session`, `save_session`, `disconnect`, `shutdown`,
    `generate_id`, `handle_request` (see `Engine`). `_get_socket`, `_service_task`, the Tornado
    driver, `AsyncSocket`, `Packet` and `Payload` are never reached.
`socketio.AsyncManager`
    all that reads or writes `rooms` (see `Rooms`), `can_disconnect`, `emit`,
    `trigger_callback`, and `_generate_ack_id`, whose counter a client could take away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import socketio

from app.common.guard import logged
from app.transport.engineio.connection import Connection
from app.transport.engineio.reason import Reason
from app.transport.engineio.server import Engine, log
from app.transport.settings import TransportSettings
from app.transport.socketio import packets
from app.transport.socketio.membership import Membership
from app.transport.socketio.packets import PacketError
from app.transport.socketio.rooms import Rooms


def _nothing(*args: Any) -> None:
    pass


def _internal_error() -> dict[str, str]:
    """Return the ack of an event that failed."""
    return {"error": "internal error"}


class SocketServer(socketio.AsyncServer):
    """Socket.IO (protocol revision 5) for Tornado; requests come in through `SocketHandler`.

    Four attributes are called synchronously, to keep track of connections:
    `opened(eio_sid, environ)`, `upgraded(eio_sid)`, and `closed(eio_sid, reason)`, which comes
    exactly once, after the disconnect handlers were started; and `event_failed()`, for a handler
    that raised or an ack that could not be sent.
    """

    eio: Engine
    manager: Rooms
    environ: dict[str, dict[str, Any]]
    manager_initialized: bool
    opened: Callable[[str, dict[str, Any]], None]
    closed: Callable[[str, str], None]
    upgraded: Callable[[str], None]
    event_failed: Callable[[], None]

    def __init__(self, settings: TransportSettings, *, client_manager: Rooms | None = None) -> None:
        # python-socketio tells of every emit; what matters of that is told by this package
        quiet = logging.getLogger(f"{log.name}.socketio")
        quiet.setLevel(logging.WARNING)
        super().__init__(
            client_manager=client_manager or Rooms(),
            logger=quiet,
            engineio_logger=quiet,
            async_mode="tornado",
            settings=settings,
        )
        self.eio.server = self
        self._membership = Membership(self)
        self.opened = _nothing
        self.closed = _nothing
        self.upgraded = _nothing
        self.event_failed = _nothing

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # Connections

    def connection_opened(self, connection: Connection, environ: dict[str, Any]) -> None:
        if not self.manager_initialized:
            self.manager_initialized = True
            self.manager.initialize()
        self.environ[connection.sid] = environ
        self.opened(connection.sid, environ)

    def connection_closed(self, connection: Connection, reason: str) -> None:
        self.eio.closed_by[reason] += 1
        for namespace in list(connection.clients):
            with logged(log, "a client of %s could not leave", namespace):
                self._membership.leave(connection, namespace, reason)
        self.forget_environ(connection.sid)
        self.closed(connection.sid, reason)

    def forget_environ(self, eio_sid: str) -> None:
        """Drop the environ of a connection that is closed, unless it may still be asked for."""
        eio = self.eio
        if not (eio_sid in eio.sockets or eio_sid in eio.leaving or eio_sid in eio.last_polls):
            self.environ.pop(eio_sid, None)

    async def close_connection(
        self, eio_sid: str, *, disconnect: bool = False, reason: str = Reason.SERVER
    ) -> None:
        """Close a transport now, after flushing; nothing it still sends is acted upon.

        With `disconnect` each joined namespace gets a DISCONNECT packet first, after which the
        official client stays away; without, it reconnects by itself. The disconnect handlers are
        started before this returns; it never waits for them or for the client.
        """
        connection = self.eio.sockets.get(eio_sid)
        if connection is None:
            return
        if disconnect:
            for namespace in (*connection.clients, *connection.joining):
                connection.transport.send(packets.encode(packets.DISCONNECT, namespace))
        connection.close(reason)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """Return "polling" or "websocket", for the sid of a connection or of a client."""
        if sid not in self.eio.sockets:
            sid = self.manager.eio_sid_from_sid(sid, namespace or "/") or sid
        return self.eio.transport(sid)

    async def shutdown(self) -> None:
        """Close every connection and stop the timers."""
        await self.eio.shutdown()

    def instrument(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: the Admin UI replaces methods of python-engineio's own sockets."""
        raise NotImplementedError(
            "the Socket.IO Admin UI needs python-engineio's own sockets, which are not used "
            "here; /metrics tells Prometheus about connections, events and their durations"
        )

    # What clients send

    def receive(self, connection: Connection, text: str) -> None:
        """Act on one Engine.IO message; raise PacketError for what closes the connection."""
        if connection.incomplete is not None:
            raise PacketError("attachments are missing")
        settings = self.eio.settings
        packet = packets.decode(
            text, limit=settings.max_message_size, max_attachments=settings.max_attachments
        )
        packet.length = len(text)
        if packet.announced:
            connection.incomplete = packet
            connection.message_deadline.start()
        else:
            self._act(connection, packet)

    def receive_event(self, connection: Connection, id: int | None, data: list[Any]) -> None:
        """Act on a plain event, as `receive` would."""
        if connection.incomplete is not None:
            raise PacketError("attachments are missing")
        sid = connection.clients.get("/")
        if sid is None:
            self._act_outside(connection, packets.EVENT, "/")
            return
        handling = self._handle(connection, "/", sid, id, data)
        if connection.queues is not None:
            connection.start(handling, connection.queues.get("/"))
            return
        # what `Connection.start` does, without another call for every event
        if self.eio.tasks.start(handling, connection.release):
            connection.hold()

    def receive_attachment(self, connection: Connection, data: bytes) -> None:
        packet = connection.incomplete
        if packet is None:
            raise PacketError("an attachment that was not announced")
        if packet.add(data):
            connection.incomplete = None
            connection.message_deadline.stop()
            self._act(connection, packet)

    def _act(self, connection: Connection, packet: packets.Packet) -> None:
        kind, namespace = packet.type, packet.namespace
        if kind == packets.CONNECT:
            self._membership.connect(connection, namespace, packet.data)
            return
        sid = connection.clients.get(namespace)
        if sid is None:
            self._act_outside(connection, kind, namespace)
        elif kind == packets.EVENT:
            handling = self._handle(connection, namespace, sid, packet.id, packet.data)
            queue = connection.queues.get(namespace) if connection.queues else None
            connection.start(handling, queue, packet.length)
        elif kind == packets.DISCONNECT:
            self._membership.leave(connection, namespace, Reason.CLIENT)
        elif packet.id in self.manager.callbacks.get(sid, ()):  # or nobody asked for the ack
            connection.start(self._acknowledged(sid, packet.id, packet.data))

    def _act_outside(self, connection: Connection, kind: int, namespace: str) -> None:
        """Act on a packet for a namespace that the client is not in, or not yet.

        A client that was disconnected by the server, or that has left, may have sent it before.
        """
        if namespace in connection.joining and kind == packets.DISCONNECT:
            self._membership.cancel_join(connection, namespace)
        elif not connection.is_late(namespace):
            raise PacketError("a packet for a namespace that was not joined")

    # Disconnecting

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
        connection = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, namespace) or "")
        if connection is None:
            return
        joining = connection.joining.get(namespace)
        if joining is not None and joining.sid == sid:
            joining.disconnected = True
        elif connection.clients.get(namespace) == sid:
            self._membership.disconnect(connection, namespace)

    # Events

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
        """Send an event to a client, a room, several rooms, or everybody in the namespace.

        `to` or `room` is a sid, the name of a room, or a collection of both. Everybody gets it if
        both are None, and nobody if it is an empty collection or a room without clients. Raises
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

    async def _handle(
        self, connection: Connection, namespace: str, sid: str, id: int | None, data: list[Any]
    ) -> None:
        """Run the handler of one event, then send what it returns as the ack."""
        event = data[0]
        try:
            handler = self.namespace_handlers.get(namespace)
            if handler is not None and not self.handlers:
                data.insert(1, sid)
                result = await handler.trigger_event(*data)
            else:
                result = await self._trigger_event(event, namespace, sid, *data[1:])
        except Exception:
            log.exception("the handler of an event in %s failed", namespace)
            self.event_failed()
            result = _internal_error()
        if id is None or result is self.not_handled or connection.closed:
            return
        answer = [] if result is None else result if type(result) is tuple else [result]
        try:
            packet = packets.encode_ack(namespace, id, answer)
        except Exception as error:
            log.error("the ack of event %r in %s cannot be sent: %s", event[:100], namespace, error)
            self.event_failed()
            packet = packets.encode_ack(namespace, id, [_internal_error()])
        connection.transport.send(packet)

    async def _acknowledged(self, sid: str, id: int | None, data: list[Any]) -> None:
        try:
            await self.manager.trigger_callback(sid, id, data)
        except Exception:
            log.exception("the callback of an acknowledged event failed")

    # What python-socketio itself still sends

    async def _send_packet(self, eio_sid: str, pkt: socketio.packet.Packet) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            namespace = pkt.namespace or "/"
            kind = pkt.packet_type - 3 if pkt.packet_type > 4 else pkt.packet_type
            connection.send(namespace, packets.encode(kind, namespace, pkt.id, pkt.data))

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: Any) -> None:
        await self.eio.send(eio_sid, eio_pkt.data)
