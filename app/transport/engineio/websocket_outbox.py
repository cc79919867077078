"""The outgoing side of a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Protocol

from app.transport.clock import Clock
from app.transport.engineio.backlog import Backlog
from app.transport.engineio.frame_queue import FrameQueue
from app.transport.flush_queue import FlushQueue
from app.transport.socket_buffers import unacknowledged

_FLUSH_AT = 65536  # bytes; collecting more than this would only hold memory


class Engine(Clock, Protocol):
    """The Engine.IO server, which all WebSockets share."""

    max_backlog: int  # bytes
    unflushed: FlushQueue


class Socket(Protocol):
    """The WebSocket that the frames belong to."""

    def fail(self) -> None: ...
    def abort(self) -> None: ...
    def stalled(self) -> None: ...
    def broken(self) -> None: ...


class Outbox:
    """Writes the frames of one turn of the loop at once.

    While the socket takes no more, frames wait in a queue. More than `--max-send-backlog` bytes
    there, or none taken for `--send-timeout`, and the client has stalled. All numbers are bytes.
    """

    __slots__ = (
        "_backlog",
        "_engine",
        "_frames",
        "_queue",
        "_sent",
        "_size",
        "_socket",
        "_transport",
        "congested",
        "corked",
    )

    def __init__(self, engine: Engine, socket: Socket, transport: asyncio.Transport) -> None:
        self._engine = engine
        self._socket = socket
        self._transport = transport
        self._frames: list[bytes] = []  # of this turn
        self._size = 0  # of these frames
        self._queue = FrameQueue()  # what the transport gets later
        self._sent = 0  # given to the transport
        self._backlog: Backlog | None = None  # while much waits
        self.congested = False  # the socket takes no more for now
        self.corked = True  # the caller of `write` calls `uncork` or `flush` itself
        if engine.settings.send_buffer < _FLUSH_AT:
            transport.set_write_buffer_limits(engine.settings.send_buffer)

    def write(self, frame: bytes) -> None:
        """Send a frame, together with the others of this turn of the loop."""
        frames = self._frames
        if not frames and not self.corked:
            self._engine.unflushed.add(self)
        frames.append(frame)
        self._size += len(frame)
        if self._size > _FLUSH_AT:
            self.flush()

    def uncork(self) -> None:
        """Write what was collected, and each later frame, at the end of its turn of the loop."""
        self.corked = False
        if self._frames:
            self._engine.unflushed.add(self)

    def write_first(self, frame: bytes) -> int:
        """Send a frame before those that wait; return how far it reaches, on `taken`'s scale."""
        if not self._queue:
            self.write(frame)
            return self._sent + self._size
        self._queue.add_first(frame)
        return self._sent + len(frame)

    def write_last(self, frame: bytes) -> None:
        """Send the close frame behind all that waits, however much that is."""
        if self.congested:
            self.flush()
            self._queue.add(frame)
        else:
            self.write(frame)
            self.flush()

    def flush(self) -> None:
        """Write everything collected so far, in one call, if the socket takes it."""
        frames = self._frames
        if not frames:
            return
        data = b"".join(frames)
        frames.clear()
        self._size = 0
        if self.congested:
            self._enqueue(data)
        else:
            self._write_now(data)

    def _write_now(self, data: bytes | bytearray) -> None:
        self._sent += len(data)
        try:
            # uvloop's write() raises if connection_lost() is about to come
            if not self._transport.is_closing():
                self._transport.write(data)
                return
        except Exception:
            self._socket.fail()
        self._socket.broken()

    def _enqueue(self, data: bytes) -> None:
        """Keep data until the socket takes more. A single message may be of any size."""
        before = self.waiting()
        self._queue.add(data)
        if before > self._engine.max_backlog:
            self._socket.stalled()
        elif before + len(data) > self._engine.settings.send_buffer:
            self._watch()

    def _watch(self) -> None:
        if self._backlog is None:
            self._backlog = Backlog(self._engine, self)

    def fail(self) -> None:
        """Log the exception that is being handled, and cut the connection."""
        self._socket.fail()

    def caught_up(self) -> None:
        """Stop watching how much the client takes."""
        if self._backlog is not None:
            self._backlog.stop()
            self._backlog = None

    def stalled(self) -> None:
        """Close the client: it reads too slowly."""
        self._socket.stalled()

    def pause(self) -> None:
        """Let frames wait: the socket takes no more."""
        self.congested = True
        if self.waiting() > self._engine.settings.send_buffer:
            self._watch()

    def resume(self) -> None:
        """Write what waits: the socket takes more."""
        self.congested = False
        while self._queue and not self.congested:
            self._write_now(self._queue.take())

    @property
    def empty(self) -> bool:
        """Whether the transport has all frames."""
        return not self._queue and not self._frames

    def waiting(self) -> int:
        """Return how much the kernel has not taken."""
        return self._size + self._queue.size + self._transport.get_write_buffer_size()

    def given(self) -> int:
        """Return how much the kernel has taken."""
        return self._sent - self._transport.get_write_buffer_size()

    def taken(self) -> int:
        """Return how much has reached the client's machine."""
        return self.given() - unacknowledged(self._transport)

    def untaken(self) -> int:
        """Return how much of whole frames has not reached the client's machine."""
        return self._sent + self._queue.size - self.taken()

    def clear(self) -> None:
        """Drop all frames: the socket is lost, or about to be."""
        self.caught_up()
        self._frames.clear()
        self._size = 0
        self._queue.clear()
