"""One Engine.IO connection (protocol revision 4), whatever transport it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from app.transport import packets
from app.transport.in_order import InOrder
from app.transport.packets import Message, Packet, PacketError
from app.transport.payload import Payload
from app.transport.timers import Timer

if TYPE_CHECKING:
    from app.transport.engine import Engine

#: Events of one connection that may be under way before its reading pauses.
MAX_EVENTS_IN_HAND = 64
#: Packets that are ignored after a client has left a namespace: it may have sent them before it
#: knew. More than that close the connection.
MAX_LATE_PACKETS = 1000
#: Namespaces of one connection for which late packets are counted.
MAX_LEFT_NAMESPACES = 16


class Reason:
    """Why a connection ended, as `on_disconnect` and the counters are told."""

    SERVER = "server disconnect"
    CLIENT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PARSE_ERROR = "parse error"
    PROTOCOL = "protocol violation"
    JOIN_TIMEOUT = "join timeout"
    SLOW_CLIENT = "client reads too slowly"
    SHUTDOWN = "server shutdown"


class Transport(Protocol):
    """What a connection asks of polling and of WebSocket."""

    name: str
    connection: Connection

    def send(self, packet: bytes | Message) -> None:
        """Send one Engine.IO packet; only a Message can have attachments."""

    def mark(self) -> int:
        """Return how far everything that was sent so far reaches."""

    def delivered(self, mark: int) -> bool:
        """Tell whether everything up to `mark` has left this process."""

    def resume(self) -> None:
        """Go on with what the client sent: the connection is no longer busy."""

    def close(self, reason: str, code: int) -> None:
        """Send what is waiting, then the end; never wait for the client."""


class Joining:
    """A client whose connect handler runs; what it is sent meanwhile waits for the reply."""

    __slots__ = ("disconnected", "left", "messages", "sid")

    def __init__(self) -> None:
        self.sid = ""
        self.messages: list[Message] = []
        self.left = False  # the client has sent a DISCONNECT
        self.disconnected = False  # the server wants to disconnect it


class Connection:
    """The state of one client: its transport, heartbeat, limits and joined namespaces."""

    __slots__ = (
        "_engine",
        "_full",
        "_heartbeat",
        "_in_hand",
        "_join",
        "_left",
        "_mark",
        "_pinged",
        "_throttle",
        "_unread",
        "busy",
        "clients",
        "closed",
        "incomplete",
        "joining",
        "lines",
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
        self.lines: dict[str, InOrder] | None = None
        #: namespace that was left -> packets for it that are still ignored
        self._left: dict[str, int] | None = None
        self.incomplete: Packet | None = None  # waits for attachments
        self.session: dict[str, Any] | None = None  # python-socketio's per-connection data
        self._in_hand = 0  # events that wait for something
        self.busy = False  # reading has to pause: too much in hand, or faster than allowed
        self._full = 0.0  # when its bucket of tokens for events will be full again
        self._throttle: Timer | None = None
        self._unread: Payload | None = None  # packets of a POST that wait
        self._pinged = False
        self._heartbeat = Timer(self._beat)
        engine.wheel.start(self._heartbeat, engine.settings.ping_interval)
        self._join: Timer | None = None
        self.join_or_leave()

    # What comes from the client

    def receive(self, packet: str | bytes) -> None:
        """Act on one Engine.IO packet; whatever is wrong with it closes the connection."""
        try:
            if isinstance(packet, bytes):
                self._engine.server.receive_attachment(self, packet)
            elif packet[:1] == "4":
                self._engine.server.receive(self, packet)
            elif (attachment := packets.decode_attachment(packet)) is not None:
                self._engine.server.receive_attachment(self, attachment)
            elif packet[:1] == "3":
                self._pong()
            elif packet[:1] == "1":
                self.close(Reason.CLIENT)
            elif packet[:1] not in ("0", "5", "6"):  # Node ignores these three
                self._engine.complain(self, "invalid Engine.IO packet")
                self.close(Reason.PARSE_ERROR)
                return
        except PacketError as error:
            self.refuse(error)
            return
        self.spend()

    def receive_all(self, payload: Payload) -> None:
        """Act on the packets of a POST; those that come too fast wait while `busy` is true.

        They also wait through an upgrade, since the WebSocket reads nothing until then either.
        """
        self._unread = payload
        self._read_on()

    @property
    def behind(self) -> bool:
        """Whether packets of a POST still wait; the client's next POST has to wait as well."""
        return self._unread is not None

    def _read_on(self) -> None:
        while self._unread is not None and not self.busy and not self.closed:
            packet = self._unread.take()
            if self._unread.empty:
                self._unread = None
            self.receive(packet)

    def refuse(self, error: PacketError) -> None:
        """Close it, since what the client sent is against the protocol."""
        self._engine.complain(self, str(error))
        self.close(Reason.PROTOCOL)

    def hold(self) -> None:
        """Count an event that waits for something; too many of them pause reading."""
        self._in_hand += 1
        if self.closed:  # a disconnect handler
            self._engine.finishing.add(self)
        if self._in_hand >= MAX_EVENTS_IN_HAND:
            self._look_busy()

    def release(self, event: object) -> None:
        """Count one less, which has ended."""
        self._in_hand -= 1
        if self.closed and not self._in_hand:
            self._engine.finishing.discard(self)
        if self.busy:
            self._look_busy()

    def _look_busy(self) -> None:
        was_busy = self.busy
        self.busy = self._in_hand >= MAX_EVENTS_IN_HAND or self._throttle is not None
        if was_busy and not self.busy:
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
        left = self._left or {}
        left.pop(namespace, None)
        left[namespace] = MAX_LATE_PACKETS
        if len(left) > MAX_LEFT_NAMESPACES:
            del left[next(iter(left))]
        self._left = left

    def is_late(self, namespace: str) -> bool:
        """Count a packet for a namespace that the client is not in; tell whether to ignore it."""
        count = self._left.get(namespace, 0) if self._left else 0
        if self._left and count:
            self._left[namespace] = count - 1
        return count > 0

    def spend(self) -> None:
        """Take one token from the bucket; when it is empty, reading pauses until it fills.

        Its state is one time (GCRA), since this is done for every event.
        """
        engine = self._engine
        if not engine.limited:
            return
        now, full = engine.loop.time(), self._full
        self._full = full = (full if full > now else now) + engine.refill
        if full > now + engine.most_owed and not self.closed and self._throttle is None:
            engine.throttled += 1
            self._throttle = Timer(self._unthrottle)
            self.busy = True
            engine.wheel.start(self._throttle, full - now - engine.most_owed)

    def _unthrottle(self) -> None:
        self._throttle = None
        self._look_busy()

    # Heartbeat

    def _beat(self) -> None:
        if self._pinged:
            self.close(Reason.PING_TIMEOUT)
            return
        self._pinged = True
        self._engine.wheel.extend(self._heartbeat, self._engine.settings.ping_timeout)
        self.transport.send(b"2")
        #: the transport that the ping went to, and how far it reaches there
        self._mark = self.transport, self.transport.mark()

    def _pong(self) -> None:
        # A pong that nobody asked for, or to a ping still here, does not prove that the client
        # reads what it is sent.
        if not self._pinged:
            return
        transport, mark = self._mark
        if transport is not self.transport or transport.delivered(mark):
            self._pinged = False
            self._engine.wheel.start(self._heartbeat, self._engine.settings.ping_interval)

    def check_heartbeat(self) -> None:
        """Close now if a deadline has passed that the shared timer has yet to come to."""
        if self._pinged and self._heartbeat.due <= self._engine.loop.time():
            self.close(Reason.PING_TIMEOUT)

    def _not_joined(self) -> None:
        self.close(Reason.JOIN_TIMEOUT)

    # What goes to the client

    def send(self, namespace: str, message: Message) -> None:
        """Send to the client in `namespace`; it waits there if CONNECT is not yet answered."""
        if self.closed:
            return
        joining = self.joining.get(namespace) if self.joining else None
        if joining is None:
            self.transport.send(message)
        else:
            joining.messages.append(message)
            if sum(map(len, joining.messages)) > self._engine.settings.send_buffer:
                self.close(Reason.SLOW_CLIENT)

    def close(self, reason: str, code: int = 0) -> None:
        """End it now: flush, tell the client, run the disconnect handlers. Only once."""
        if self.closed:
            return
        self.closed, self.reason = True, reason
        wheel = self._engine.wheel
        for timer in (self._heartbeat, self._join, self._throttle):
            if timer is not None:
                wheel.stop(timer)
        self.incomplete = self._unread = None
        self.joining = {}
        self._engine.forget(self)
        if self._in_hand:
            self._engine.finishing.add(self)
        if self.upgrade is not None:
            self.upgrade.close(reason, code)
            self.upgrade = None
        self.transport.close(reason, code)
        self._engine.server.connection_closed(self, reason)
