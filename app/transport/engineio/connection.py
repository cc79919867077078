"""One Engine.IO connection (protocol revision 4), whatever transport it is on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from app.common.guard import logged
from app.transport.engineio.heartbeat import Heartbeat
from app.transport.engineio.message_deadline import MessageDeadline
from app.transport.engineio.payload import Payload
from app.transport.engineio.reason import Reason
from app.transport.engineio.token_bucket import Limits, TokenBucket
from app.transport.engineio.transport import Transport
from app.transport.socketio import packets
from app.transport.socketio.in_order import InOrder
from app.transport.socketio.joining import Joining
from app.transport.socketio.left_namespaces import LeftNamespaces
from app.transport.socketio.packets import Message, Packet, PacketError
from app.transport.tasks import Tasks
from app.transport.timers import Timer

log = logging.getLogger("app.transport")

#: Events of one connection that may be under way before its reading pauses.
MAX_EVENTS_IN_HAND = 64
#: Bytes of a message that count as one more event in hand: decoded, a large message can take
#: twenty times its size for as long as its handler runs.
BYTES_IN_HAND = 32_768


class Server(Protocol):
    """The Socket.IO server, which acts on the messages."""

    def receive(self, connection: Connection, text: str) -> None: ...
    def receive_attachment(self, connection: Connection, data: bytes) -> None: ...
    def connection_closed(self, connection: Connection, reason: str) -> None: ...


class Engine(Limits, Protocol):
    """The Engine.IO server, which all connections share."""

    max_backlog: int  # bytes
    tasks: Tasks

    @property
    def server(self) -> Server: ...
    def complain(self, connection: Connection | None, why: str) -> None: ...
    def forget(self, connection: Connection) -> None: ...


class Connection:
    """The state of one client: its transport, heartbeat, limits and joined namespaces."""

    __slots__ = (
        "_drained",
        "_engine",
        "_heartbeat",
        "_in_hand",
        "_join",
        "_left",
        "_unread",
        "bucket",
        "busy",
        "clients",
        "closed",
        "incomplete",
        "joining",
        "message_deadline",
        "queues",
        "reason",
        "registered",
        "session",
        "sid",
        "transport",
        "upgrade",
    )

    def __init__(self, engine: Engine, sid: str, transport: Transport) -> None:
        self._engine = engine
        self.sid = sid
        self.transport = transport
        self.upgrade: Transport | None = None  # a WebSocket that probes
        self.closed = False
        self.reason = ""  # why it closed
        #: namespace -> Socket.IO sid, for those that are joined
        self.clients: dict[str, str] = {}
        #: namespace -> the client whose connect handler runs
        self.joining: dict[str, Joining] = {}
        #: Clients of this connection whose handlers may still ask for its data: from before the
        #: connect handler begins until the disconnect handler has returned.
        self.registered = 0
        #: namespace -> queue of its events, for namespaces that are ordered
        self.queues: dict[str, InOrder] | None = None
        self._left: LeftNamespaces | None = None
        self.incomplete: Packet | None = None  # waits for attachments
        self.session: dict[str, Any] | None = None  # python-socketio's per-connection data
        self._in_hand = 0  # events that wait for something
        self.busy = False  # reading has to pause: too much in hand, or faster than allowed
        self.bucket = TokenBucket(engine, self)
        self._unread: Payload | None = None  # packets of a POST that wait
        self._drained: asyncio.Event | None = None  # set when the client has taken more
        self.message_deadline = MessageDeadline(engine, self)
        self._heartbeat = Heartbeat(engine, self)
        self._join: Timer | None = None
        self.join_or_leave()

    # What comes from the client

    def receive(self, packet: str | bytes) -> None:
        """Act on one Engine.IO packet; an invalid one closes the connection.

        The transport charges for it, see `TokenBucket.spend`.
        """
        try:
            if isinstance(packet, bytes):
                self._engine.server.receive_attachment(self, packet)
            elif packet[:1] == "4":
                self._engine.server.receive(self, packet)
            elif (attachment := packets.decode_attachment(packet)) is not None:
                self._engine.server.receive_attachment(self, attachment)
            elif packet[:1] == "3":
                self._heartbeat.pong()
            elif packet[:1] == "1":
                self.close(Reason.CLIENT)
            elif packet[:1] not in ("0", "5", "6"):  # Node ignores these three
                self.complain("invalid Engine.IO packet")
                self.close(Reason.PARSE_ERROR)
        except PacketError as error:
            self.refuse(error)
        except Exception:
            self.fail()

    def receive_all(self, payload: Payload) -> None:
        """Act on the packets of a POST; the rest of them waits while `busy` is true.

        An upgrade does not end that wait: until then the WebSocket reads nothing either.
        """
        self._unread = payload
        self._read_on()

    @property
    def behind(self) -> bool:
        """Whether packets of a POST still wait; the client's next POST waits for them."""
        return self._unread is not None

    def _read_on(self) -> None:
        while self._unread is not None and not self.busy and not self.closed:
            packet = self._unread.take()
            if self._unread.empty:
                self._unread = None
            self.receive(packet)
            self.bucket.spend(len(packet))

    def refuse(self, error: PacketError) -> None:
        """Close the connection: the client has broken the protocol."""
        self.complain(str(error))
        self.close(Reason.PROTOCOL)

    def fail(self) -> None:
        """Log the exception that is being handled, and close this connection."""
        log.exception("a connection failed and is closed sid=%s", self.sid)
        self.close(Reason.TRANSPORT_ERROR)

    def start(
        self, handling: Coroutine[Any, Any, None], queue: InOrder | None = None, size: int = 0
    ) -> None:
        """Run a handler, at once or after those of its queue; count it while it waits.

        `size` is how many bytes its message has.
        """
        # at most half, so that one message alone pauses nothing: its handler may `call` the client
        count = min(1 + size // BYTES_IN_HAND, MAX_EVENTS_IN_HAND // 2)
        if queue is not None:
            queue.add(handling, count)
        elif self._engine.tasks.start(handling, partial(self.release, count=count)):
            self.hold(count)

    def hold(self, count: int = 1) -> None:
        """Count an event that waits for something; too many of them pause reading."""
        self._in_hand += count
        if self._in_hand >= MAX_EVENTS_IN_HAND:
            self.update_busy()

    def release(self, event: object, *, count: int = 1) -> None:
        """Count an event that has ended."""
        self._in_hand -= count
        if self.busy:
            self.update_busy()

    def throttle(self, *, control: bool) -> None:
        """Stop reading: the token bucket is empty. For `control` see `TokenBucket.spend`."""
        if not control:
            self._heartbeat.pause()
        self.busy = True

    def update_busy(self) -> None:
        """Pause reading if too much is in hand or the bucket is empty; else resume it."""
        was_busy, full = self.busy, self._in_hand >= MAX_EVENTS_IN_HAND
        self.busy = full or self.bucket.empty
        if full:
            self._heartbeat.pause()
        if was_busy and not self.busy and not self.closed:
            self._heartbeat.resume()
            self._read_on()
            if self._unread is None and not self.closed:
                self.transport.resume()

    def join_or_leave(self) -> None:
        """Let the join deadline run while the client is in no namespace, and only then."""
        wheel = self._engine.wheel
        if self.clients and self._join is not None:
            wheel.stop(self._join)
            self._join = None
        elif not self.clients and not self.closed and self._join is None:
            self._join = Timer(self._not_joined)
            wheel.start(self._join, self._engine.settings.join_timeout)

    def note_left(self, namespace: str) -> None:
        """Ignore late packets for this namespace: the client has left it, or was refused."""
        if self._left is None:
            self._left = LeftNamespaces()
        self._left.add(namespace)

    def is_late(self, namespace: str) -> bool:
        """Count a packet for a namespace that the client is not in; return whether to ignore it."""
        return self._left is not None and self._left.ignore(namespace)

    def check_heartbeat(self) -> None:
        """Close the client now if its deadline for a pong has passed."""
        self._heartbeat.check()

    def _not_joined(self) -> None:
        if self._join is not None and self.joining:  # a connect handler has not finished
            self._engine.wheel.start(self._join, self._engine.settings.join_timeout)
        else:
            self.close(Reason.JOIN_TIMEOUT)

    # What goes to the client

    def send(self, namespace: str, message: Message) -> None:
        """Send to the client in `namespace`; it waits there if CONNECT is not yet answered."""
        if self.closed:
            return
        joining = self.joining.get(namespace) if self.joining else None
        try:
            if joining is None:
                self.transport.send(message)
            else:
                self._send_later(joining, message)
        except Exception:  # an emit goes on with its other recipients
            self._engine.loop.call_soon(self.close, Reason.TRANSPORT_ERROR)
            log.exception("a client could not be sent to and is closed sid=%s", self.sid)

    def _send_later(self, joining: Joining, message: Message) -> None:
        """Keep a message until CONNECT is answered."""
        if joining.size <= self._engine.max_backlog:
            joining.add(message)
        elif joining.messages:
            joining.messages.clear()
            self.log_slow(joining.size)
            self._engine.loop.call_soon(self.close, Reason.SLOW_CLIENT)

    def complain(self, why: str) -> None:
        """Log a fault of the client, rate-limited."""
        self._engine.complain(self, why)

    def log_slow(self, waiting: int) -> None:
        """Log that the client is closed because it reads slowly; `waiting` is in bytes."""
        self.complain(f"closed: {Reason.SLOW_CLIENT} waiting={waiting} bytes")

    def close_slow(self) -> None:
        """Close the client, which reads too slowly."""
        self.log_slow(self.transport.waiting())
        self.close(Reason.SLOW_CLIENT)

    async def drained(self, namespace: str) -> bool:
        """Wait until no more than `--send-buffer` bytes wait for the client.

        Returns whether the client is still in this namespace.
        """
        if namespace in self.joining:
            return True
        while not self.closed and self.transport.waiting() > self._engine.settings.send_buffer:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()
        return namespace in self.clients and not self.closed

    def wake_drained(self) -> None:
        """Let the callers of `drained` look again: the client has taken something."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def close(self, reason: str, code: int = 0) -> None:
        """Flush, tell the client, start the disconnect handlers; only the first call acts."""
        if self.closed:
            return
        self.closed, self.reason = True, reason
        self._heartbeat.stop()
        self.bucket.stop()
        self.message_deadline.stop()
        if self._join is not None:
            self._engine.wheel.stop(self._join)
        self.incomplete = self._unread = None
        self.joining = {}
        self._engine.forget(self)
        self.wake_drained()
        upgrade, self.upgrade = self.upgrade, None
        for transport in (upgrade, self.transport):
            if transport is not None:
                with logged(log, "a transport could not be closed sid=%s", self.sid):
                    transport.close(reason, code)
        with logged(log, "the end of a connection could not be announced sid=%s", self.sid):
            self._engine.server.connection_closed(self, reason)
