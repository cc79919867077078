"""The WebSocket transport: the protocol that takes a connection over from HTTP after the 101."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING

from app.transport import frames
from app.transport.connection import Connection, Reason
from app.transport.frames import Control, FrameError, FrameParser
from app.transport.packets import RESERVED_EVENTS, Message, PacketError, loads
from app.transport.plain import plain_event, text_frame
from app.transport.polling import Polling
from app.transport.timers import Timer

if TYPE_CHECKING:
    from app.transport.engine import Engine
    from app.transport.http_exchange import Handover

#: Seconds for an upgrade to finish, as in Node's server.
UPGRADE_TIMEOUT = 10.0
#: Seconds in which a client has to close its side after ours.
LINGER = 2.0
#: Bytes that it may still send then: what was on its way, but no flood.
DRAIN = 8_000_000
_FLUSH_AT = 65536  # bytes; collecting more than this would only hold memory

_CODES = types.MappingProxyType(
    {
        Reason.PROTOCOL: frames.POLICY_VIOLATION,
        Reason.PARSE_ERROR: frames.POLICY_VIOLATION,
        Reason.SHUTDOWN: frames.GOING_AWAY,
    }
)


class WebSocket(asyncio.BufferedProtocol):
    """Frames in, packets to the connection; packets out, one write for each turn of the loop."""

    name = "websocket"
    __slots__ = (
        "_congested",
        "_corked",
        "_dropped",
        "_ended",
        "_engine",
        "_out",
        "_parser",
        "_paused",
        "_probed",
        "_sent",
        "_size",
        "_timer",
        "_transport",
        "connection",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parser = FrameParser(engine.settings.max_message_size)
        self.connection: Connection = None  # type: ignore[assignment]  # by Engine.open or probe()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._out: list[bytes] = []
        self._size = 0  # bytes in _out
        self._sent = 0  # bytes given to the transport
        self._corked = True  # until start(), and while a read is worked through
        self._congested = False  # the socket takes no more for now
        self._paused = False
        self._ended = False  # our close frame is out
        self._dropped = 0  # bytes that came after it
        self._probed = False
        self._timer: Timer | None = None

    # The socket changes hands

    def take_over(self, connection: Handover) -> None:
        """Take the place of HTTP, with what was read already and what is still to be written."""
        connection.transport.set_protocol(self)
        self.connection_made(connection.transport)
        self._parser.feed(connection.received)
        self._out.append(connection.unsent)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def start(self) -> None:
        """Begin to work for the connection, with what has come in since the 101."""
        self._corked = False
        self._work()

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._engine.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._ended:
            self._drop(nbytes)
            return
        if self._parser.idle and not self._corked and self._receive_event(nbytes):
            return
        self._parser.feed(bytes(self._engine.read_buffer[:nbytes]))
        if not self._corked:
            self._work()

    def _drop(self, nbytes: int) -> None:
        self._dropped += nbytes
        if self._dropped > DRAIN:
            self._transport.abort()

    def _receive_event(self, nbytes: int) -> bool:
        """Take the short way with a read that is one plain event; tell whether it was one."""
        connection, engine = self.connection, self._engine
        if connection.busy or connection.transport is not self:
            return False
        event = plain_event(engine.read_buffer, nbytes, engine.longest, loads, RESERVED_EVENTS)
        if event is None:
            return False
        id, data = event
        self._corked = True
        try:
            engine.server.receive_event(connection, id, data)
            if engine.limited:
                connection.spend()
        except PacketError as error:
            connection.refuse(error)
        finally:
            self._corked = False
        self._settle(connection)
        return True

    def eof_received(self) -> bool:
        return False

    def resume(self) -> None:
        if not self._corked and not self._ended:
            self._work()

    def _work(self) -> None:
        """Hand what was read to the connection, until it has enough in hand."""
        connection = self.connection
        parser = self._parser
        self._corked = True
        try:
            while not self._ended and not (connection.busy and connection.transport is self):
                message = parser.next()
                if message is None:
                    break
                if isinstance(message, Control):
                    self._control(message)
                elif connection.transport is self:
                    connection.receive(message)
                else:
                    self._probe(message)
        except FrameError as error:
            self._engine.complain(connection, str(error))
            self._end(error.code)
            self._lost(Reason.TRANSPORT_ERROR)
        finally:
            self._corked = False
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """After a read: write what came of it, and read on only if that is bearable."""
        if self._out:
            self.flush()
        if connection.busy or self._congested or self._paused:
            self._read_or_pause(connection)

    def _control(self, control: Control) -> None:
        self.connection.spend()
        if control.opcode == frames.PING:
            self._write(frames.encode(frames.PONG, control.payload))
        elif control.opcode == frames.CLOSE:
            code = frames.close_code(control.payload)
            self._end(code if control.payload else 0)
            self._lost(Reason.TRANSPORT_CLOSE)

    def _read_or_pause(self, connection: Connection) -> None:
        # A probe reads on: the connection tells its transport, not its probe, when to resume.
        busy = connection.busy and connection.transport is self
        pause = not self._ended and (self._congested or busy)
        if pause is not self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # Writing

    def send(self, packet: bytes | Message) -> None:
        if isinstance(packet, bytes):
            self._write(text_frame(packet) or frames.encode(frames.TEXT, packet))
        else:
            self._write(packet.framed)

    def _write(self, frame: bytes) -> None:
        if self._ended:
            return
        out = self._out
        if not out and not self._corked:
            self._engine.flush_soon(self)
        out.append(frame)
        self._size += len(frame)
        if self._size > _FLUSH_AT or self._congested:
            self._check_backlog(len(frame))

    def _check_backlog(self, newest: int) -> None:
        """Close a client that reads too slowly; one message may be as big as it likes."""
        self.flush()
        backlog = self._transport.get_write_buffer_size()
        if backlog - newest > self._engine.settings.send_buffer:
            self._ended = True
            self._transport.abort()
            self._lost(Reason.SLOW_CLIENT)

    def flush(self) -> None:
        """Write everything collected so far, in one call."""
        out = self._out
        if out:
            self._sent += self._size
            self._transport.write(b"".join(out))
            out.clear()
            self._size = 0

    def mark(self) -> int:
        return self._sent + self._size

    def delivered(self, mark: int) -> bool:
        return self._sent - self._transport.get_write_buffer_size() >= mark

    def pause_writing(self) -> None:
        self._congested = True
        self._read_or_pause(self.connection)

    def resume_writing(self) -> None:
        self._congested = False
        self._read_or_pause(self.connection)

    # The end

    def close(self, reason: str, code: int) -> None:
        if reason == Reason.SLOW_CLIENT and not self._ended:
            self._ended = True
            self._transport.abort()
        self._end(code or _CODES.get(reason, frames.NORMAL))

    def _end(self, code: int) -> None:
        """Send the close frame and our FIN; the client has LINGER seconds for its own."""
        if self._ended:
            return
        self._ended = True
        self._engine.ending.add(self)
        self._out.append(frames.encode_close(code))
        self.flush()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        except OSError:  # the client's reset came first
            self._transport.abort()
        self._start_timer(self._transport.abort, LINGER)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._engine.ending.discard(self)
        self._stop_timer()
        self._lost(Reason.TRANSPORT_ERROR if exc else Reason.TRANSPORT_CLOSE)

    def _lost(self, reason: str) -> None:
        """Tell the connection; a probe that is lost leaves it on polling."""
        connection = self.connection
        if connection and connection.transport is self:
            connection.close(reason)
        elif connection and connection.upgrade is self:
            connection.upgrade = None

    # The upgrade from polling

    def probe(self, connection: Connection) -> None:
        """Begin to upgrade `connection`; one that upgrades already, or has, refuses this socket."""
        self.connection = connection
        if connection.closed or connection.upgrade or connection.transport.name == self.name:
            self._end(0)
            return
        connection.upgrade = self
        self._start_timer(self._probe_failed, UPGRADE_TIMEOUT)
        self.start()

    def _probe_failed(self) -> None:
        self._end(0)
        self._lost(Reason.TRANSPORT_CLOSE)

    def _probe(self, packet: str | bytes) -> None:
        """Act on a packet before the upgrade: a probe, then the upgrade, nothing else."""
        connection = self.connection
        polling = connection.transport
        if not isinstance(polling, Polling):
            self._probe_failed()
        elif packet == "2probe":
            self._probed = True
            self.send(b"3probe")
            polling.nudge()  # the client upgrades once no poll is open
        elif packet[:1] == "5" and self._probed:
            self._stop_timer()
            connection.upgrade, connection.transport = None, self
            polling.move_to(self)
            self._engine.server.upgraded(connection.sid)
        else:
            self._probe_failed()

    def _start_timer(self, run: object, seconds: float) -> None:
        self._stop_timer()
        self._timer = Timer(run)  # type: ignore[arg-type]
        self._engine.wheel.start(self._timer, seconds)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._engine.wheel.stop(self._timer)
            self._timer = None
