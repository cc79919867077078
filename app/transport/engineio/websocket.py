"""The WebSocket transport: the protocol that takes a connection over from HTTP after the 101."""

from __future__ import annotations

import asyncio
import logging
import types

from app.transport.engineio import frames
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import Connection
from app.transport.engineio.frames import FRAGMENT, Control, FrameError
from app.transport.engineio.linger import Linger
from app.transport.engineio.message import MESSAGE, Message, decode_attachment
from app.transport.engineio.payload import SEPARATOR
from app.transport.engineio.polling import Polling
from app.transport.engineio.probe import Probe
from app.transport.engineio.server import EngineServer
from app.transport.engineio.websocket_outbox import Outbox
from app.transport.engineio.websocket_reader import Reader
from app.transport.engineio.websocket_state import State
from app.transport.http.exchange import Handover

log = logging.getLogger("app.transport")

# Python 3.11 needs 0.1 µs to find a member in its class.
_ACCEPTED, _PROBING, _OPEN, _CLOSING, _CLOSED, _LOST = State

_CODES = types.MappingProxyType(
    {
        Reason.PROTOCOL: frames.POLICY_VIOLATION,
        Reason.PARSE_ERROR: frames.POLICY_VIOLATION,
        Reason.SHUTDOWN: frames.GOING_AWAY,
    }
)
#: Why the server closes a client that has done nothing wrong: it may have something to tell.
_TOLD = frozenset({Reason.SERVER, Reason.SHUTDOWN, Reason.JOIN_TIMEOUT})


class WebSocket(asyncio.Protocol):
    """A socket with its life: from the 101 to the last byte of the close.

    Its `Reader` hands packets to the connection, its `Outbox` writes what the connection sends. It
    is no BufferedProtocol, whose two calls for each read take 0.5 µs.
    """

    name = "websocket"
    connection: Connection  # set by EngineServer.open or probe()
    __slots__ = (
        "_engine",
        "_late_code",
        "_linger",
        "_outbox",
        "_probe",
        "_reader",
        "_transport",
        "connection",
        "state",
    )

    def __init__(self, engine: EngineServer, handover: Handover) -> None:
        """Take the place of HTTP, with the bytes it has read and those it has not written."""
        self._engine = engine
        self._transport = handover.transport
        self.state = _ACCEPTED
        self._outbox = Outbox(engine, self, self._transport)  # pyright: ignore[reportArgumentType]
        self._outbox.write(handover.unsent)
        self._reader = Reader(engine, self, self._transport, self._outbox)  # pyright: ignore[reportArgumentType]
        if handover.received:
            self._reader.feed(handover.received)
        self._probe: Probe | None = None  # until the client has upgraded
        self._late_code = 0  # of the close frame, if the connection has closed during the probe
        self._linger: Linger | None = None  # from our close frame on
        # HTTP reads into a buffer of its own; a transport looks at that when it begins to read
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def start(self, state: State = _OPEN) -> None:
        """Begin with the frames that have arrived since the 101."""
        self.state = state
        self._outbox.uncork()
        if self._reader.due:
            self._reader.read()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.state < _CLOSING:
            self._reader.feed(data)
        elif self._linger is not None:
            self._linger.drop(len(data))

    def eof_received(self) -> bool:
        """Treat a client that has shut its side as disconnected; waiting data still goes out."""
        if self._reader.due:
            self._reader.read()
        self._outbox.flush()
        if self.state < _CLOSING:
            self._begin_closing()
            self._lost(Reason.TRANSPORT_CLOSE)
        return False

    def resume(self) -> None:
        if self.state < _CLOSING:
            self._reader.read()

    def unread(self) -> bool:
        return self._reader.unread()

    def receive_control(self, control: Control) -> None:
        """Act on a control frame or a fragment."""
        if self._probe is not None:
            if self._probe.is_flood():
                self.fail_probe()
                return
        elif control is FRAGMENT:
            self.connection.start_deadline()
        if control.opcode == frames.PING:
            self._outbox.write(frames.encode(frames.PONG, control.payload))
        elif control.opcode == frames.CLOSE:
            code = frames.close_code(control.payload)
            self._end(code if control.payload else 0)
            self._lost(Reason.TRANSPORT_CLOSE)

    def failed(self, error: Exception) -> None:
        """End the WebSocket: this was raised in acting on its frames, and is being handled."""
        if isinstance(error, FrameError):
            self._engine.complain(self.connection, str(error))
            self._end(error.code)
            self._lost(Reason.TRANSPORT_ERROR)
        else:
            self.fail()

    # Writing

    def send(self, packet: bytes | Message) -> None:
        if self.state < _CLOSING:
            self._outbox.write(
                frames.encode(frames.TEXT, packet) if isinstance(packet, bytes) else packet.framed
            )

    def ping(self) -> int:
        if self.state >= _CLOSING:
            return 0
        return self._outbox.write_first(frames.encode(frames.TEXT, b"2"))

    @property
    def congested(self) -> bool:
        return self._outbox.congested

    def delivered(self, mark: int) -> bool:
        return self._outbox.given() >= mark

    def waiting(self) -> int:
        return self._outbox.waiting()

    def taken(self) -> int:
        return self._outbox.taken()

    def behind(self, mark: int) -> bool:
        return self._outbox.taken() < mark

    def untaken(self) -> int:
        return self._outbox.untaken()

    def pause_writing(self) -> None:
        self._outbox.pause()
        self._reader.update()

    def resume_writing(self) -> None:
        self._outbox.resume()
        if self.state == _CLOSING and self._outbox.empty:
            self._shut()
        self.connection.wake_drained()
        self._reader.update()

    # The end

    def close(self, reason: str, code: int) -> None:
        if reason == Reason.SLOW_CLIENT:
            self._cut(reason)
            return
        code = code or _CODES.get(reason, frames.NORMAL)
        if self._probe is not None and self._probe.answered and reason in _TOLD:
            # the client polls no more, and hears the last packets only once it has upgraded
            self._late_code = code
            self._engine.ending.add(self)
        else:
            self._end(code)

    def _end(self, code: int) -> None:
        """Send the data that waits, the close frame, and then our FIN."""
        if self.state >= _CLOSING:
            return
        self._outbox.write_last(frames.encode_close(code))
        if self.state < _CLOSED:
            self._begin_closing()
            if self._outbox.empty:
                self._shut()

    def _begin_closing(self) -> None:
        """Take nothing more from the connection or the client; wait for the client's close."""
        self.state = _CLOSING
        self._outbox.caught_up()
        self._engine.ending.add(self)
        self._reader.stop()
        self._stop_timers()
        # what the kernel has counts as taken, so that a client that is not slow gets one LINGER
        self._linger = Linger(self._engine, self, self._outbox.given())  # pyright: ignore[reportArgumentType]

    def _shut(self) -> None:
        """Send our FIN once everything is with the transport."""
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        except (OSError, RuntimeError):  # the client's reset came first
            self._transport.abort()

    def _end_at_once(self) -> None:
        """Send the close frame and do not wait for the client's."""
        self._outbox.write(frames.encode_close(0))
        self._outbox.flush()
        self._forget()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def stalled(self) -> None:
        """Close the client: it reads too slowly."""
        self.connection.log_slow(self.waiting())
        self._cut(Reason.SLOW_CLIENT)

    def broken(self) -> None:
        """Cut the connection: it cannot be written to."""
        self._cut(Reason.TRANSPORT_ERROR)

    def fail(self) -> None:
        """Log the exception that is being handled, and cut this connection."""
        log.exception("a WebSocket failed and is cut sid=%s", self.connection.sid)
        self._cut(Reason.TRANSPORT_ERROR)

    def _cut(self, reason: str) -> None:
        """Cut the socket now, and tell the connection in the next turn of the loop.

        The caller may be in the middle of an emit to many clients.
        """
        if self.state >= _CLOSED:
            return
        self._forget()
        self._engine.loop.call_soon(self._lost, reason)
        self._transport.abort()

    def _forget(self) -> None:
        """Drop all bytes, read and unwritten."""
        self.state = _CLOSED
        self._outbox.clear()
        self._reader.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reader.due:
            self._reader.read()
        self._forget()
        self._engine.ending.discard(self)
        self._stop_timers()
        self._lost(Reason.TRANSPORT_ERROR if exc else Reason.TRANSPORT_CLOSE)
        self.state = _LOST
        # these refer to this object; without them it is freed now, not by the garbage collector
        self._probe = self._linger = None
        del self.connection, self._outbox, self._reader

    def _lost(self, reason: str) -> None:
        """Tell the connection; a probe that is lost leaves it on polling."""
        if self.state is _LOST:
            return
        connection = self.connection
        if connection.transport is self:
            connection.close(reason)
        elif connection.upgrade is self:
            connection.upgrade = None

    def _stop_timers(self) -> None:
        for waits in (self._probe, self._linger):
            if waits is not None:
                waits.stop()

    # The upgrade from polling

    def probe(self, connection: Connection) -> None:
        """Begin to upgrade `connection`; if it cannot be upgraded, close this WebSocket."""
        self.connection = connection
        polling = connection.transport
        if connection.closed or connection.upgrade or not isinstance(polling, Polling):
            self._end_at_once()
            return
        connection.upgrade = self
        self._probe = Probe(self._engine.wheel, self, polling)
        self.start(_PROBING)

    def receive_probe(self, packet: str | bytes) -> None:
        """Act on a packet of a client that tries the WebSocket."""
        if self._probe is not None:
            self._probe.receive(packet)

    def upgrade(self) -> None:
        """Take the place of polling, and send what no poll has fetched."""
        connection, probe = self.connection, self._probe
        if connection.closed:
            self._send_last()
            return
        polling = connection.transport
        if probe is None or not isinstance(polling, Polling):
            self.fail_probe()
            return
        probe.stop()
        self._probe, self.state = None, _OPEN
        connection.upgrade, connection.transport = None, self
        polling.move_to(self)
        connection.receiver.upgraded()

    def _send_last(self) -> None:
        """Send what no poll of the closed connection has fetched, then the close frame."""
        for payload in self._engine.last_polls.take_all(self.connection.sid):
            for packet in payload.split(SEPARATOR.encode()):
                if packet.startswith(MESSAGE):
                    self.send(packet)
                elif (attachment := decode_attachment(packet.decode())) is not None:
                    self._outbox.write(frames.encode(frames.BINARY, attachment))
        self._end(self._late_code)

    def fail_probe(self) -> None:
        """Close this WebSocket and leave the connection on polling."""
        self._end(0)
        self._lost(Reason.TRANSPORT_CLOSE)
