"""The Socket.IO side of one connection."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import MAX_EVENTS_IN_HAND, Connection
from app.transport.engineio.message import Message
from app.transport.socketio import packets
from app.transport.socketio.in_order import InOrder
from app.transport.socketio.joining import Joining
from app.transport.socketio.left_namespaces import LeftNamespaces
from app.transport.socketio.packets import BinaryPacket, Limits, Packet, PacketError
from app.transport.tasks import Tasks
from app.transport.timers import Timer, Wheel

#: Bytes of a message that count as one more event in hand: decoded, a large message can take
#: twenty times its size for as long as its handler runs.
BYTES_IN_HAND = 32_768


class Members(Protocol):
    """The rooms of clients."""

    def get_rooms(self, sid: str, namespace: str) -> list[Any]: ...
    def basic_enter_room(self, sid: str, namespace: str, room: Any) -> None: ...
    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None: ...


class Server(Protocol):
    """The Socket.IO server, which all peers share."""

    @property
    def manager(self) -> Members: ...

    tasks: Tasks
    wheel: Wheel
    packet_limits: Limits
    join_timeout: float  # seconds
    max_backlog: int  # bytes

    def act(self, peer: Peer, packet: Packet) -> None: ...
    def peer_upgraded(self, peer: Peer) -> None: ...
    def peer_closed(self, peer: Peer, reason: str) -> None: ...


class JoinDeadline(Timer):
    """Closes a client that is in no namespace for too long."""

    __slots__ = ("_peer",)

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer

    def run(self) -> None:
        self._peer.not_joined()


class Peer:
    """The namespaces that a connection is in, and its messages in them."""

    __slots__ = (
        "_incomplete",
        "_join",
        "_left",
        "_server",
        "clients",
        "connection",
        "joining",
        "queues",
        "registered",
        "session",
    )

    def __init__(self, server: Server, connection: Connection) -> None:
        self._server = server
        self.connection = connection
        #: namespace -> Socket.IO sid, for those that are joined
        self.clients: dict[str, str] = {}
        #: namespace -> the client whose connect handler runs
        self.joining: dict[str, Joining] = {}
        #: Clients of this connection whose handlers may still ask for its data: from before the
        #: connect handler begins until the disconnect handler has returned.
        self.registered = 0
        #: namespace -> queue of its events, for namespaces that are ordered
        self.queues: dict[str, InOrder] | None = None
        self.session: dict[str, Any] | None = None  # python-socketio's per-connection data
        self._left: LeftNamespaces | None = None
        self._incomplete: BinaryPacket | None = None  # waits for attachments
        self._join: JoinDeadline | None = None  # runs while the client is in no namespace
        self.update_join_timer()

    @property
    def eio_sid(self) -> str:
        """The id of the connection."""
        return self.connection.sid

    # What comes from the client

    def received(self, data: str | bytes) -> None:
        """Act on a message; raise PacketError for what closes the connection."""
        if isinstance(data, bytes):
            self._receive_attachment(data)
            return
        if self._incomplete is not None:
            raise PacketError("attachments are missing")
        packet = packets.decode(data, self._server.packet_limits)
        if isinstance(packet, BinaryPacket):
            self._incomplete = packet
            self.connection.await_rest(packet.unread)
        else:
            self._server.act(self, packet)

    def _receive_attachment(self, data: bytes) -> None:
        packet = self._incomplete
        if packet is None:
            raise PacketError("an attachment that was not announced")
        if packet.add(data):
            self._incomplete = None
            self.connection.rest_arrived()
            self._server.act(self, packet)

    def start(
        self, handling: Coroutine[Any, Any, None], queue: InOrder | None = None, size: int = 0
    ) -> None:
        """Run a handler, at once or after those of its queue; count it while it waits.

        `size` is how many bytes its message has.
        """
        count = 1
        if size >= BYTES_IN_HAND:
            # at most half, so that one message alone pauses nothing: its handler may `call` the
            # client
            count = min(1 + size // BYTES_IN_HAND, MAX_EVENTS_IN_HAND // 2)
        if queue is not None:
            queue.add(handling, count)
            return
        done = self._ended if count == 1 else partial(self._ended, count=count)
        if self._server.tasks.start(handling, done):
            self.connection.hold(count)

    def _ended(self, task: object, *, count: int = 1) -> None:
        self.connection.release(count)

    def upgraded(self) -> None:
        self._server.peer_upgraded(self)

    def closed(self, reason: str) -> None:
        self.joining = {}
        self._incomplete = None
        if self._join is not None:
            self._server.wheel.stop(self._join)
            self._join = None
        self._server.peer_closed(self, reason)

    # Namespaces

    def update_join_timer(self) -> None:
        """Let the join deadline run while the client is in no namespace, and only then."""
        wheel = self._server.wheel
        if self.clients and self._join is not None:
            wheel.stop(self._join)
            self._join = None
        elif not self.clients and not self.connection.closed and self._join is None:
            self._join = JoinDeadline(self)
            wheel.start(self._join, self._server.join_timeout)

    def not_joined(self) -> None:
        """Close the client: it has been in no namespace for too long."""
        if self._join is not None and self.joining:  # a connect handler has not finished
            self._server.wheel.start(self._join, self._server.join_timeout)
        else:
            self.connection.close(Reason.JOIN_TIMEOUT)

    def note_left(self, namespace: str) -> None:
        """Ignore late packets for this namespace: the client has left it, or was refused."""
        if self._left is None:
            self._left = LeftNamespaces()
        self._left.add(namespace)

    def is_late(self, namespace: str) -> bool:
        """Count a packet for a namespace that the client is not in; return whether to ignore it."""
        return self._left is not None and self._left.ignore(namespace)

    # What goes to the client

    def send(self, namespace: str, message: Message) -> None:
        """Send to the client in `namespace`; it waits there if CONNECT is not yet answered."""
        joining = self.joining.get(namespace) if self.joining else None
        if joining is None:
            self.connection.send(message)
        elif not self.connection.closed:
            self._send_later(joining, message)

    def _send_later(self, joining: Joining, message: Message) -> None:
        """Keep a message until CONNECT is answered."""
        if joining.size <= self._server.max_backlog:
            joining.add(message)
        elif joining.messages:
            joining.messages.clear()
            self.connection.log_slow(joining.size)
            self.connection.close_soon(Reason.SLOW_CLIENT)

    def emit(self, event: str, data: Any) -> None:
        """Send an event in each namespace that is joined."""
        for namespace in self.clients:
            self.send(namespace, packets.encode(packets.EVENT, namespace, None, [event, data]))

    # Rooms

    def enter_also(self, room: str, new_room: str) -> None:
        """Let the clients that are in a room enter another one as well."""
        rooms = self._server.manager
        for namespace, sid in self._sids():
            if room in rooms.get_rooms(sid, namespace):
                rooms.basic_enter_room(sid, namespace, new_room)

    def leave_room(self, room: str) -> None:
        """Let the clients of this connection leave a room."""
        for namespace, sid in self._sids():
            self._server.manager.basic_leave_room(sid, namespace, room)

    def _sids(self) -> list[tuple[str, str]]:
        """Return the clients with their namespaces, also those whose connect handlers run."""
        joining = [(name, joining.sid) for name, joining in self.joining.items() if joining.sid]
        return [*self.clients.items(), *joining]

    async def drained(self, namespace: str) -> bool:
        """Wait until no more than `--send-buffer` bytes wait for the client.

        Returns whether the client is still in this namespace.
        """
        if namespace in self.joining:
            return True
        await self.connection.drained()
        return namespace in self.clients and not self.connection.closed

    def close(self, *, disconnect: bool = False, reason: str = Reason.SERVER) -> None:
        """Close the connection now, after flushing; nothing it still sends is acted upon.

        With `disconnect` each joined namespace gets a DISCONNECT packet first, after which the
        official client stays away; without, it reconnects by itself. The disconnect handlers are
        started before this returns; it never waits for them or for the client.
        """
        if disconnect:
            for namespace in (*self.clients, *self.joining):
                self.connection.send(packets.encode(packets.DISCONNECT, namespace))
        self.connection.close(reason)
