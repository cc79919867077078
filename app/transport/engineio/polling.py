"""The HTTP long-polling transport: what waits for the client's next poll."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.backlog import OVERHEAD, Backlog
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import Connection
from app.transport.engineio.last_polls import LastPolls
from app.transport.engineio.message import Message
from app.transport.engineio.payload import SEPARATOR

CLOSE, NOOP = b"1", b"6"
#: Packets of one payload: python-socketio's client refuses more (`Payload.max_decode_packets`).
MAX_PACKETS = 16
#: Seconds that a poll waits for the outcome of an upgrade under way, as in Node's server.
UPGRADE_POLL = 0.1
#: Seconds in which a client that was between two polls can still fetch its last packets.
LAST_POLL_TIMEOUT = 10.0
#: The client broke Engine.IO or disconnected: its next poll gets a 400, as from Node's server.
ABRUPT = frozenset(
    {Reason.PARSE_ERROR, Reason.PING_TIMEOUT, Reason.TRANSPORT_CLOSE, Reason.TRANSPORT_ERROR}
)


class Engine(Clock, Protocol):
    """What all connections share."""

    longest: int  # bytes of the longest message
    max_backlog: int  # bytes
    last_polls: LastPolls


class Carrier(Protocol):
    """The HTTP request of a poll."""

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        ...


class Successor(Protocol):
    """The transport after an upgrade."""

    def send(self, packet: bytes | Message) -> None: ...


class Polling:
    """Collects packets and hands them to the poll that is open, or to the next one."""

    name = "polling"
    connection: Connection  # set by EngineServer.open
    congested = False  # POSTs are read even while the client does not poll
    __slots__ = (
        "_backlog",
        "_carrier",
        "_engine",
        "_final",
        "_outbox",
        "_room",
        "_size",
        "_stalled",
        "_total",
        "_wake",
        "connection",
        "posting",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.posting = False  # a POST is under way
        self._final = b""  # what the open poll of a closed connection returns
        self._outbox: deque[bytes | Message] = deque()
        self._size = 0  # bytes in the outbox, with the overhead of each packet
        self._total = 0  # the same of all packets, with those that were fetched
        self._carrier: Carrier | None = None  # of the last poll
        self._backlog: Backlog | None = None  # while much waits
        self._stalled = False  # it is about to be closed as slow
        self._wake: asyncio.Future[None] | None = None  # of the open poll
        self._room: asyncio.Future[None] | None = None  # of a POST that waits

    def send(self, packet: bytes | Message) -> None:
        if self._stalled:
            return
        backlog = self._size
        size = len(packet) + OVERHEAD
        self._outbox.append(packet)
        self._size += size
        self._total += size
        settings = self._engine.settings
        if backlog > self._engine.max_backlog:  # a single message may be of any size
            self.stalled()
        elif self._size > settings.send_buffer and self._backlog is None:
            self._backlog = Backlog(self._engine, self)
        self.nudge()

    def ping(self) -> int:
        size = 1 + OVERHEAD
        self._outbox.appendleft(b"2")
        self._size += size
        self._total += size
        self.nudge()
        return self._total - self._size + size

    def delivered(self, mark: int) -> bool:
        return self._total - self._size >= mark

    def waiting(self) -> int:
        """Return how many bytes wait for the next poll."""
        return self._size

    def taken(self) -> int:
        """Return how much was fetched, without what its poll still has to send."""
        return self._total - self._size - self._in_transit()

    def behind(self, mark: int) -> bool:
        """Return whether the data up to `mark` cannot have reached the client yet.

        A browser shows its client a response only once all of it is here.
        """
        return self.taken() < mark or self._in_transit() > 0

    def _in_transit(self) -> int:
        return self._carrier.untaken() if self._carrier is not None else 0

    def unread(self) -> bool:
        """Whether a POST is under way."""
        return self.posting

    def caught_up(self) -> None:
        """Stop watching how much the client takes."""
        if self._backlog is not None:
            self._backlog.stop()
            self._backlog = None

    def stalled(self) -> None:
        """Close the client, which takes too little for what it is sent."""
        self.caught_up()
        self._stalled = True
        self.connection.log_slow(self._size)
        self._outbox.clear()
        self._size = 0
        # the caller may be in the middle of an emit to many clients
        self._engine.loop.call_soon(self.connection.close, Reason.SLOW_CLIENT)

    def polled_by(self, request: Carrier) -> None:
        """Note the request that asks for the next payload."""
        self._carrier = request

    @property
    def polled(self) -> bool:
        """Whether a poll is open."""
        return self._wake is not None

    async def poll(self, *, wait: bool = True) -> bytes | None:
        """Wait for packets and return them as one payload; None when the transport changed.

        Without `wait` it returns a NOOP if there are none.

        The payload is taken in the last moment, so that packets of one turn of the loop leave
        together and none is lost with a poll whose client has disconnected.
        """
        if wait and not self._outbox:
            connection = self.connection
            self._wake = self._engine.loop.create_future()
            limit = UPGRADE_POLL if connection.upgrade is not None else None
            done, _ = await asyncio.wait({self._wake}, timeout=limit)
            self._wake = None
            if not done:
                return NOOP
            if connection.transport is not self:
                return None
        return self._final or self._payload()

    def nudge(self) -> None:
        """Let the open poll return with what there is, a NOOP if there is nothing."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def move_to(self, websocket: Successor) -> None:
        """Hand the packets that no poll has fetched to the WebSocket, after an upgrade."""
        for packet in self._outbox:
            websocket.send(packet)
        self._clear()
        self.caught_up()
        self.nudge()
        self.resume()

    async def room(self) -> None:
        """Wait for the packets of the last POST, the close or an upgrade."""
        connection = self.connection
        while connection.behind and not connection.closed and connection.transport is self:
            self._room = self._engine.loop.create_future()
            await self._room

    def resume(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self, reason: str, code: int) -> None:
        self.caught_up()
        self.resume()
        self._keep_rest(reason)
        # it refers to this object, which without it is freed now, not by the garbage collector
        del self.connection
        self._carrier = None

    def _keep_rest(self, reason: str) -> None:
        """Let the open poll, or the next ones, fetch what is left, and the end."""
        end = NOOP if reason == Reason.CLIENT else CLOSE
        if self._wake is not None and not self._outbox:
            self._final = end
            self.nudge()
            return
        # The official client drops events that come in one payload with the close, so that comes
        # with a poll of its own, as in Node's server. A client's own close may overtake its poll.
        if self._wake is not None:
            self._final = self._payload()
        payloads = []
        while self._outbox:
            payloads.append(self._payload())
        payloads.append(end)
        if reason not in ABRUPT:
            seconds = UPGRADE_POLL if reason == Reason.CLIENT else LAST_POLL_TIMEOUT
            self._engine.last_polls.keep(self.connection, payloads, seconds)

    def _payload(self) -> bytes:
        return SEPARATOR.encode().join(self._take()) or NOOP

    def _take(self) -> list[bytes]:
        """Take the packets of one payload, in order; the next poll takes the rest.

        There are at most MAX_PACKETS. None is added to a payload that is as large as the largest
        message that a client may send.
        """
        packets: list[bytes] = []
        size = 0  # bytes
        while self._outbox and len(packets) < MAX_PACKETS and size < self._engine.longest:
            size += len(self._outbox[0])
            packets += self._take_first(MAX_PACKETS - len(packets))
        self.connection.wake_drained()
        return packets

    def _take_first(self, count: int) -> list[bytes]:
        """Take up to `count` packets of the first message that waits."""
        first = self._outbox.popleft()
        self._size -= len(first) + OVERHEAD
        if isinstance(first, bytes):
            return [first]
        message, rest = first.split(count)
        if rest is not None:
            self._outbox.appendleft(rest)
            self._size += len(rest) + OVERHEAD
        return message.polled

    def _clear(self) -> None:
        self._outbox.clear()
        self._size = 0
        self.connection.wake_drained()
