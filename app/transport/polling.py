"""The HTTP long-polling transport: what waits for the client's next poll."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from app.transport.connection import Connection, Reason
from app.transport.packets import Message
from app.transport.payload import SEPARATOR

if TYPE_CHECKING:
    from app.transport.engine import Engine
    from app.transport.websocket import WebSocket

CLOSE, NOOP = b"1", b"6"
#: Packets of one payload: python-socketio's client refuses more (`Payload.max_decode_packets`).
MAX_PACKETS = 16
#: Seconds that a poll waits for the outcome of an upgrade under way, as in Node's server.
UPGRADE_POLL = 0.1
#: Seconds for which a client that was between two polls can still fetch its last packets.
FAREWELL = 10.0
#: The client broke Engine.IO or is gone: its next poll is answered with 400, as by Node's server.
ABRUPT = frozenset(
    {Reason.PARSE_ERROR, Reason.PING_TIMEOUT, Reason.TRANSPORT_CLOSE, Reason.TRANSPORT_ERROR}
)


class Polling:
    """Collects packets and hands them to the poll that is open, or to the next one."""

    name = "polling"
    connection: Connection  # set by Engine.open
    __slots__ = (
        "_engine",
        "_final",
        "_outbox",
        "_put_ever",
        "_room",
        "_size",
        "_wake",
        "connection",
        "posting",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.posting = False  # a POST is under way
        self._final = b""  # what the open poll of a closed connection returns
        self._outbox: deque[bytes | Message] = deque()
        self._size = 0
        self._put_ever = 0  # packets, those that were fetched included
        self._wake: asyncio.Future[None] | None = None  # of the open poll
        self._room: asyncio.Future[None] | None = None  # of a POST that waits

    def send(self, packet: bytes | Message) -> None:
        backlog = self._size
        self._outbox.append(packet)
        self._size += len(packet)
        self._put_ever += 1
        if backlog > self._engine.settings.send_buffer:  # one message may be as big as it likes
            self._clear()
            self.connection.close(Reason.SLOW_CLIENT)
        self.nudge()

    def mark(self) -> int:
        return self._put_ever

    def delivered(self, mark: int) -> bool:
        return self._put_ever - len(self._outbox) >= mark

    @property
    def polled(self) -> bool:
        """Whether a poll is open."""
        return self._wake is not None

    async def poll(self, *, wait: bool = True) -> bytes | None:
        """Wait for packets and return them as one payload; None when the transport changed.

        Without `wait` it returns a NOOP if there are none.

        The payload is taken in the last moment, so that packets of one turn of the loop leave
        together and none is lost with a poll that is gone.
        """
        if wait and not self._outbox:
            self._wake = self._engine.loop.create_future()
            limit = UPGRADE_POLL if self.connection.upgrade is not None else None
            done, _ = await asyncio.wait({self._wake}, timeout=limit)
            self._wake = None
            if not done:
                return NOOP
            if self.connection.transport is not self:
                return None
        return self._final or self._payload()

    def nudge(self) -> None:
        """Let the open poll return with what there is, a NOOP if there is nothing."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def move_to(self, websocket: WebSocket) -> None:
        """Hand over to the WebSocket what no poll has fetched, after an upgrade."""
        for packet in self._outbox:
            websocket.send(packet)
        self._clear()
        self.nudge()
        self.resume()

    async def room(self) -> None:
        """Wait until the packets of the last POST are worked through, or it is no longer ours."""
        connection = self.connection
        while connection.behind and not connection.closed and connection.transport is self:
            self._room = self._engine.loop.create_future()
            await self._room

    def resume(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self, reason: str, code: int) -> None:
        self.resume()
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
            seconds = UPGRADE_POLL if reason == Reason.CLIENT else FAREWELL
            self._engine.leave_farewell(self.connection.sid, payloads, seconds)

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
        return packets

    def _take_first(self, count: int) -> list[bytes]:
        """Take up to `count` packets of the first message that waits."""
        first = self._outbox.popleft()
        self._size -= len(first)
        if isinstance(first, bytes):
            return [first]
        message, rest = first.split(count)
        if rest is not None:
            self._outbox.appendleft(rest)
            self._size += len(rest)
        return message.polled

    def _clear(self) -> None:
        self._outbox.clear()
        self._size = 0
