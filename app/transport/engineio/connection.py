"""One Engine.IO connection (protocol revision 4), whatever transport it is on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from app.common.log_and_continue import logged
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.heartbeat import Heartbeat
from app.transport.engineio.message import MESSAGE, Message, decode_attachment
from app.transport.engineio.message_deadline import MessageDeadline
from app.transport.engineio.payload import Payload
from app.transport.engineio.receiver_protocol import ProtocolError, Receiver
from app.transport.engineio.token_bucket import Limits, TokenBucket
from app.transport.engineio.transport import Transport

log = logging.getLogger("app.transport")

#: Events of one connection that may be under way before its reading pauses.
MAX_EVENTS_IN_HAND = 64


class Engine(Limits, Protocol):
    """The Engine.IO server, which all connections share."""

    def complain(self, connection: Connection | None, why: str) -> None: ...
    def forget(self, connection: Connection) -> None: ...


class Connection:
    """The state of one client: its transport, its heartbeat and its limits."""

    __slots__ = (
        "_drained",
        "_engine",
        "_heartbeat",
        "_in_hand",
        "_unread",
        "bucket",
        "busy",
        "closed",
        "context",
        "deadline",
        "environ",
        "reason",
        "receiver",
        "sid",
        "transport",
        "unfinished",
        "upgrade",
    )

    receiver: Receiver  # set by EngineServer.open

    def __init__(
        self, engine: Engine, sid: str, transport: Transport, environ: dict[str, Any], context: Any
    ) -> None:
        self._engine = engine
        self.sid = sid
        self.transport = transport
        #: What the handshake showed, as strings under WSGI's names.
        self.environ = environ
        #: What `SocketHandler.context` returned at the handshake. This package never reads it.
        self.context = context
        self.upgrade: Transport | None = None  # a WebSocket that probes
        self.closed = False
        self.reason = ""  # why it closed
        #: Characters to decode once the rest of a message is here; None: no message is begun.
        self.unfinished: int | None = None
        self._in_hand = 0  # events that wait for something
        self.busy = False  # reading has to pause: too much in hand, or faster than allowed
        self.bucket = TokenBucket(engine, self)
        self._unread: Payload | None = None  # packets of a POST that wait
        self._drained: asyncio.Event | None = None  # set when the client has taken more
        self.deadline: MessageDeadline | None = None  # while the rest of a message has to come
        self._heartbeat = Heartbeat(engine, self)

    # What comes from the client

    def receive(self, packet: str | bytes) -> None:
        """Act on one Engine.IO packet; an invalid one closes the connection.

        The transport charges for it, see `TokenBucket.spend`.
        """
        try:
            if type(packet) is str and packet[:1] == "4":
                self.receiver.received(packet[1:])
            elif isinstance(packet, bytes):
                self.receiver.received(packet)
            else:
                self._receive_other(packet)
        except ProtocolError as error:
            self.refuse(error)
        except Exception:
            self.fail()

    def _receive_other(self, packet: str) -> None:
        kind = packet[:1]
        if (attachment := decode_attachment(packet)) is not None:
            self.receiver.received(attachment)
        elif kind == "3":
            self._heartbeat.pong()
        elif kind == "1":
            self.close(Reason.CLIENT)
        elif kind not in ("0", "5", "6"):  # Node ignores these three
            self.complain("invalid Engine.IO packet")
            self.close(Reason.PARSE_ERROR)

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

    def await_rest(self, size: int) -> None:
        """Note that a message goes on in further ones, and begin its deadline.

        The last of them completes `size` characters, which are decoded then.
        """
        self.unfinished = size
        self.start_deadline()

    def rest_arrived(self) -> None:
        """Note that the message of `await_rest` is complete."""
        self.unfinished = None
        self.stop_deadline()

    def start_deadline(self) -> None:
        """Wait for the rest of a message, unless the deadline runs already."""
        if self.deadline is None:
            self.deadline = MessageDeadline(self._engine, self)

    def stop_deadline(self) -> None:
        """Stop the deadline: the message is complete, or the connection closes."""
        if self.deadline is not None:
            self.deadline.stop()
            self.deadline = None

    def refuse(self, error: ProtocolError) -> None:
        """Close the connection: the client has broken the protocol."""
        self.complain(str(error))
        self.close(Reason.PROTOCOL)

    def fail(self) -> None:
        """Log the exception that is being handled, and close this connection."""
        log.exception("a connection failed and is closed sid=%s", self.sid)
        self.close(Reason.TRANSPORT_ERROR)

    def hold(self, count: int = 1) -> None:
        """Count events that wait for something; too many of them pause reading."""
        self._in_hand += count
        if self._in_hand >= MAX_EVENTS_IN_HAND:
            self.update_busy()

    def release(self, count: int = 1) -> None:
        """Count events that have ended."""
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

    def check_heartbeat(self) -> None:
        """Close the client now if its deadline for a pong has passed."""
        self._heartbeat.check()

    # What goes to the client

    def send(self, message: bytes | Message) -> None:
        """Send a message; bytes are the text of one that no other client gets."""
        if self.closed:
            return
        try:
            self.transport.send(MESSAGE + message if type(message) is bytes else message)
        except Exception:  # an emit goes on with its other recipients
            self.close_soon(Reason.TRANSPORT_ERROR)
            log.exception("a client could not be sent to and is closed sid=%s", self.sid)

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

    async def drained(self) -> None:
        """Wait until no more than `--send-buffer` bytes wait for the client, or it has closed."""
        while not self.closed and self.transport.waiting() > self._engine.settings.send_buffer:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()

    def wake_drained(self) -> None:
        """Let the callers of `drained` look again: the client has taken something."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def close_soon(self, reason: str) -> None:
        """Close in the next turn of the loop: the caller may be emitting to many clients."""
        self._engine.loop.call_soon(self.close, reason)

    def close(self, reason: str, code: int = 0) -> None:
        """Flush, tell the client and the layer above; only the first call acts."""
        if self.closed:
            return
        self.closed, self.reason = True, reason
        self._heartbeat.stop()
        self.bucket.stop()
        self.stop_deadline()
        self._unread = None
        self._engine.forget(self)
        self.wake_drained()
        upgrade, self.upgrade = self.upgrade, None
        for transport in (upgrade, self.transport):
            if transport is not None:
                with logged(log, "a transport could not be closed sid=%s", self.sid):
                    transport.close(reason, code)
        with logged(log, "the end of a connection could not be announced sid=%s", self.sid):
            self.receiver.closed(reason)
            # it refers to this object, which without it is freed now, not by the garbage collector
            del self.receiver
