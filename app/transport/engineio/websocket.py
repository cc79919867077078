"""The WebSocket transport: the protocol that takes a connection over from HTTP after the 101."""

from __future__ import annotations

import asyncio
import enum
import logging
import types

from app.transport.backlog import Backlog, unacknowledged, unread
from app.transport.engineio import frames
from app.transport.engineio.connection import Connection
from app.transport.engineio.frame_queue import FrameQueue
from app.transport.engineio.frames import FRAGMENT, Control, FrameError, FrameParser
from app.transport.engineio.linger import Linger
from app.transport.engineio.message import Message
from app.transport.engineio.polling import Polling
from app.transport.engineio.probe import Probe
from app.transport.engineio.reason import Reason
from app.transport.engineio.server import EngineServer
from app.transport.http.exchange import Handover
from app.transport.turns import SMALL

log = logging.getLogger("app.transport")

_FLUSH_AT = 65536  # bytes; collecting more than this would only hold memory

_CODES = types.MappingProxyType(
    {
        Reason.PROTOCOL: frames.POLICY_VIOLATION,
        Reason.PARSE_ERROR: frames.POLICY_VIOLATION,
        Reason.SHUTDOWN: frames.GOING_AWAY,
    }
)


class State(enum.IntEnum):
    """How far a WebSocket is; it only moves forward."""

    OPEN = 0  # it carries its connection's packets, or probes for a connection on polling
    CLOSING = 1  # the close frame is sent; nothing is sent after it, what comes is dropped
    CLOSED = 2  # the socket is lost or about to be


#: Read from here, since Python 3.11 needs 0.2 µs to find a member of an enum in its class.
_OPEN, _CLOSING, _CLOSED = State


class WebSocket(asyncio.BufferedProtocol):
    """Frames in, packets to the connection; packets out, one write for each turn of the loop.

    Frames of one turn gather in `_out`. While the socket takes no more, they go to `_waiting`.
    More than `--max-send-backlog` bytes there close the client.
    """

    name = "websocket"
    __slots__ = (
        "_backlog",
        "_corked",
        "_engine",
        "_linger",
        "_out",
        "_parser",
        "_paused",
        "_probe",
        "_sent",
        "_size",
        "_state",
        "_transport",
        "_waiting",
        "_waits",
        "congested",
        "connection",
    )

    def __init__(self, engine: EngineServer) -> None:
        self._engine = engine
        self._parser = FrameParser(engine.settings.max_message_size)
        self.connection: Connection = None  # type: ignore[assignment]  # by EngineServer.open or probe()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._state = _OPEN
        self._out: list[bytes] = []
        self._size = 0  # bytes in _out
        self._waiting = FrameQueue()  # what the transport gets later
        self._sent = 0  # bytes given to the transport
        self._corked = True  # until start(), and while a read is worked through
        self.congested = False  # the socket takes no more for now, so nothing is read either
        self._paused = False
        self._backlog = Backlog(engine, self)  # pyright: ignore[reportArgumentType]
        self._linger: Linger | None = None  # from our close frame on
        self._waits = False  # for a turn of the loop in which to parse what was read
        self._probe: Probe | None = None  # until the client has upgraded

    # The socket changes hands

    def take_over(self, connection: Handover) -> None:
        """Take the place of HTTP, with what was read already and what is still to be written."""
        connection.transport.set_protocol(self)
        self.connection_made(connection.transport)
        self._parser.feed(connection.received)
        self._out.append(connection.unsent)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        if self._engine.settings.send_buffer < _FLUSH_AT:
            self._transport.set_write_buffer_limits(self._engine.settings.send_buffer)

    def start(self) -> None:
        """Begin with what has arrived since the 101."""
        self._corked = False
        self._work()

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._engine.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._state >= _CLOSING:
            if self._linger is not None:
                self._linger.drop(nbytes)
            return
        parser = self._parser
        # nothing to wait for; saves an event 0.5 µs
        at_once = parser.idle and nbytes <= SMALL and self.connection.unfinished is None
        parser.feed(self._engine.read_buffer[:nbytes].tobytes())
        if not self._corked:
            self._receive() if at_once else self._work()

    def eof_received(self) -> bool:
        """Treat a client that has shut its side as gone; what it was sent still goes out."""
        if self._state < _CLOSING:
            self._close()
            self._lost(Reason.TRANSPORT_CLOSE)
        return False

    def resume(self) -> None:
        if not self._corked and self._state < _CLOSING:
            self._work()

    def unread(self) -> bool:
        """Whether bytes of the client wait to be read or parsed."""
        return self._waits or unread(self._transport) > 0

    def _work(self) -> None:
        """Parse what was read now, or in a later turn of the loop if it is large."""
        if self._waits:
            return
        size = self._parser.ready
        if size and self.connection.unfinished is not None:
            size += self.connection.unfinished
        if size <= SMALL or self._engine.turns.enter(size, self._begin_turn):
            self._receive()
        else:
            self._waits = True
            self._read_or_pause(self.connection)

    def _begin_turn(self) -> None:
        self._waits = False
        if self._state < _CLOSING:
            self._receive()

    def _receive(self) -> None:
        """Hand what was read to the connection, until it has enough in hand."""
        connection = self.connection
        parser = self._parser
        self._corked = True
        try:
            while self._state < _CLOSING and not (connection.busy and connection.transport is self):
                message = parser.next()
                if message is None:
                    break
                if isinstance(message, Control):
                    connection.bucket.spend(parser.size, control=message is not FRAGMENT)
                    self._control(message)
                    continue
                connection.bucket.spend(parser.size)
                if self._probe is not None:
                    self._probe.receive(message)
                else:
                    connection.receive(message)
                    if connection.message_deadline.timer and connection.unfinished is None:
                        connection.message_deadline.stop()
                if parser.idle:
                    break
        except FrameError as error:
            self._engine.complain(connection, str(error))
            self._end(error.code)
            self._lost(Reason.TRANSPORT_ERROR)
        except Exception:
            self.fail()
        finally:
            self._corked = False
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """After a read, write the answers, and pause reading if one side is behind."""
        if self._out:
            self.flush()
        if connection.busy or self.congested or self._paused:
            self._read_or_pause(connection)

    def _control(self, control: Control) -> None:
        if self._probe is not None:
            if self._probe.is_flood():
                self.fail_probe()
                return
        elif control is FRAGMENT:
            self.connection.message_deadline.start()
        if control.opcode == frames.PING:
            self._write(frames.encode(frames.PONG, control.payload))
        elif control.opcode == frames.CLOSE:
            code = frames.close_code(control.payload)
            self._end(code if control.payload else 0)
            self._lost(Reason.TRANSPORT_CLOSE)

    def _read_or_pause(self, connection: Connection) -> None:
        # A probe reads on: the connection tells its transport, not its probe, when to resume.
        busy = connection.busy and connection.transport is self
        pause = self._state < _CLOSING and (self.congested or busy or self._waits)
        if pause is not self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # Writing

    def send(self, packet: bytes | Message) -> None:
        if isinstance(packet, bytes):
            self._write(frames.encode(frames.TEXT, packet))
        else:
            self._write(packet.framed)

    def _write(self, frame: bytes) -> None:
        if self._state >= _CLOSING:
            return
        out = self._out
        if not out and not self._corked:
            self._engine.flush_soon(self)
        out.append(frame)
        self._size += len(frame)
        if self._size > _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write everything collected so far, in one call, if the socket takes it."""
        out = self._out
        if not out:
            return
        data = b"".join(out)
        out.clear()
        self._size = 0
        if self.congested:
            self._enqueue(data)
        else:
            self._write_now(data)

    def ping(self) -> int:
        frame = frames.encode(frames.TEXT, b"2")
        if not self._waiting:
            self._write(frame)
            return self._sent + self._size
        self._waiting.add_first(frame)
        return self._sent + len(frame)

    def _write_now(self, data: bytes | bytearray) -> None:
        """Write to the transport; if that fails, cut this connection."""
        self._sent += len(data)
        try:
            # uvloop's write() raises if connection_lost() is about to come
            if not self._transport.is_closing():
                self._transport.write(data)
                return
        except Exception:
            self.fail()
        self._cut(Reason.TRANSPORT_ERROR)

    def _enqueue(self, data: bytes) -> None:
        """Keep data until the socket takes more. A single message may be of any size."""
        before = self.waiting()
        self._waiting.add(data)
        if before > self._engine.max_backlog:
            self.stalled()
        elif before + len(data) > self._engine.settings.send_buffer:
            self._backlog.watch()

    def waiting(self) -> int:
        """Return how many bytes the kernel has not taken."""
        return self._size + self._waiting.size + self._transport.get_write_buffer_size()

    def taken(self) -> int:
        """Return how many bytes have reached the client's machine."""
        untaken = self._transport.get_write_buffer_size() + unacknowledged(self._transport)
        return self._sent - untaken

    def behind(self, mark: int) -> bool:
        return self.taken() < mark

    def untaken(self) -> int:
        """Return how many bytes of whole frames have not reached the client's machine."""
        return self._sent + self._waiting.size - self.taken()

    def stalled(self) -> None:
        """Close the client, which takes too little for what it is sent."""
        self.connection.log_slow(self.waiting())
        self._cut(Reason.SLOW_CLIENT)

    def delivered(self, mark: int) -> bool:
        return self._sent - self._transport.get_write_buffer_size() >= mark

    def pause_writing(self) -> None:
        self.congested = True
        if self.waiting() > self._engine.settings.send_buffer:
            self._backlog.watch()
        self._read_or_pause(self.connection)

    def resume_writing(self) -> None:
        self.congested = False
        while self._waiting and not self.congested and self._state < _CLOSED:
            self._write_now(self._waiting.take())
        if self._state == _CLOSING and not self._waiting:
            self._shut()
        self.connection.wake_drained()
        self._read_or_pause(self.connection)

    # The end

    def close(self, reason: str, code: int) -> None:
        if reason == Reason.SLOW_CLIENT:
            self._cut(reason)
        self._end(code or _CODES.get(reason, frames.NORMAL))

    def _end(self, code: int) -> None:
        """Send the data that waits, the close frame, and then our FIN."""
        if self._state >= _CLOSING:
            return
        self._out.append(frames.encode_close(code))
        self.flush()
        if self._state < _CLOSED:
            self._close()
            if not self._waiting:
                self._shut()

    def _close(self) -> None:
        """Take nothing more from the connection or the client; wait for the client's close."""
        self._state = _CLOSING
        self._backlog.stop()
        self._engine.ending.add(self)
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        # what the kernel has counts as taken, so that a client that is not slow gets one LINGER
        taken = self._sent - self._transport.get_write_buffer_size()
        self._stop_timers()
        self._linger = Linger(self._engine, self, taken)  # pyright: ignore[reportArgumentType]

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
        self._out.append(frames.encode_close(0))
        self.flush()
        self._forget_output()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def fail(self) -> None:
        """Log the exception that is being handled, and cut this connection."""
        log.exception("a WebSocket failed and is cut sid=%s", self.connection.sid)
        self._cut(Reason.TRANSPORT_ERROR)

    def _cut(self, reason: str) -> None:
        """Cut the socket now, and tell the connection in the next turn of the loop.

        The caller may be in the middle of an emit to many clients.
        """
        if self._state >= _CLOSED:
            return
        self._forget_output()
        self._engine.loop.call_soon(self._lost, reason)
        self._transport.abort()

    def _forget_output(self) -> None:
        self._state = _CLOSED
        self._backlog.stop()
        self._out.clear()
        self._size = 0
        self._waiting.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_output()
        self._engine.ending.discard(self)
        self._stop_timers()
        self._lost(Reason.TRANSPORT_ERROR if exc else Reason.TRANSPORT_CLOSE)

    def _lost(self, reason: str) -> None:
        """Tell the connection; a probe that is lost leaves it on polling."""
        connection = self.connection
        if connection and connection.transport is self:
            connection.close(reason)
        elif connection and connection.upgrade is self:
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
        self.start()

    def upgrade(self) -> None:
        """Take the place of polling, and send what no poll has fetched."""
        connection, probe = self.connection, self._probe
        polling = connection.transport
        if probe is None or not isinstance(polling, Polling):
            self.fail_probe()
            return
        probe.stop()
        self._probe = None
        connection.upgrade, connection.transport = None, self
        polling.move_to(self)
        connection.receiver.upgraded()

    def fail_probe(self) -> None:
        """Close this WebSocket and leave the connection on polling."""
        self._end(0)
        self._lost(Reason.TRANSPORT_CLOSE)
