"""The connection of one HTTP client: bytes in and out, pauses, deadlines and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError

from app.common.rate_limited_log import RateLimitedLog
from app.transport.descriptors import Descriptors
from app.transport.http.client_address import HttpContext
from app.transport.http.deadline import Deadline
from app.transport.http.detached import DetachedStream
from app.transport.http.refusal import refusal
from app.transport.http.request_sequence import Requests
from app.transport.http.request_sequence import Server as RequestsServer
from app.transport.http.states import ConnectionState, ServerState
from app.transport.http.writer import HttpWriter
from app.transport.http.writer import Server as WriterServer
from app.transport.socket_buffers import unread

_CLOSING = ConnectionState.CLOSING
_PLACEHOLDER = asyncio.BufferedProtocol()  # of transports until another protocol takes them over

#: Seconds that a client may still send after its last response.
LINGER_TIMEOUT = 2.0
#: Bytes that it may send then.
MAX_LINGER_SIZE = 16_000_000


class OpenConnections(Protocol):
    """What a connection tells the collection of all."""

    def add(self, connection: HttpConnection) -> None: ...
    def forget(self, connection: HttpConnection) -> None: ...
    def add_stream(self, stream: DetachedStream) -> None: ...
    def forget_stream(self, stream: DetachedStream) -> None: ...


class Server(RequestsServer, WriterServer, Protocol):
    """What a connection asks of the HTTP server."""

    protocol: str  # http or https
    body_timeout: float  # seconds
    read_buffer: memoryview
    descriptors: Descriptors
    client_log: RateLimitedLog
    refusal_headers: Callable[[HTTPHeaders], Mapping[str, str]]

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def date(self) -> str: ...
    @property
    def connections(self) -> OpenConnections: ...


class HttpConnection(asyncio.BufferedProtocol):
    """Reads for the requests of one client, and knows when to stop.

    Reading pauses while a request is in hand, so that a client has at most one read of the
    server's buffer in memory.
    """

    __slots__ = (
        "_drained",
        "_paused",
        "_transport",
        "context",
        "deadline",
        "requests",
        "server",
        "writer",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = Deadline(server.loop)
        self.requests = Requests(server, self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._paused = False  # reading
        self._drained = 0  # bytes dropped since the last response

    @property
    def has_pending(self) -> bool:
        """Whether bytes of the next request, or of the body of this one, have arrived."""
        return bool(self.requests.input.data)

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self.server
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self.context = HttpContext(transport, server.protocol)
        self.writer = HttpWriter(server, self._transport)
        self.deadline.set(server.header_timeout)
        server.connections.add(self)
        if server.state is ServerState.CLOSING:
            self.close_soon()
        elif server.descriptors.scarce(transport):
            self.refuse(503, server.descriptors.shortage)
            if server.descriptors.nearly_gone(transport):
                self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        requests = self.requests
        if requests.state < _CLOSING:
            requests.input.add(self.server.read_buffer[:nbytes].tobytes())
            requests.work()
            return
        self._drained += nbytes
        if self._drained > MAX_LINGER_SIZE:
            self._transport.abort()

    def eof_received(self) -> bool:
        """Answer the complete requests of a client that has shut its side, then close.

        The client may also have left. The server notices when it writes, or at a deadline.
        """
        self.writer.flush()
        requests, exchange = self.requests, self.requests.exchange
        if not (requests.open and requests.awaited_by_half_closed):
            return False
        if not self._transport.can_write_eof():  # with TLS there is no half of a connection
            return False
        getting = exchange is not None and exchange.head.start_line.method == "GET"
        self.writer.half_close(getting=getting)
        requests.work()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.requests.move(ConnectionState.CLOSED)
        self.server.connections.forget(self)
        self.writer.lose()
        if exchange is not None:
            exchange.abandon()
        self.server.app.on_close(self)

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()
        self.work()

    # What requests and responses tell it

    def work(self) -> None:
        """Go on with the requests."""
        self.requests.work()

    def worked(self) -> None:
        """Read on, or pause; close if a client has shut its side in the middle of a request."""
        if not self.writer.half_closed:
            self._read_or_pause()
        elif self.requests.open and self.requests.incomplete:
            self._transport.close()

    def response_finished(self) -> None:
        """Go on with the next request, unless another protocol follows."""
        exchange = self.requests.exchange
        if exchange is not None and exchange.response.status == 101:
            self.deadline.set(self.server.header_timeout)
        else:
            self.requests.work()

    def _read_or_pause(self) -> None:
        """Pause reading while nothing can be done with what has arrived; else read."""
        requests = self.requests
        pause = requests.state < _CLOSING and (self.writer.congested or requests.blocked())
        if requests.exchange is not None and requests.exchange.followed:
            requests.exchange.tell_of_next()
        if pause is self._paused or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self.deadline.pause()
            self._transport.pause_reading()
        else:
            self.deadline.resume()
            self._transport.resume_reading()

    # Another protocol

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Let go of the transport; return it with what was read but not used."""
        if self._transport.is_closing() or self.writer.half_closed:
            raise StreamClosedError
        self.requests.move(ConnectionState.DETACHED)
        self.server.connections.forget(self)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        # uvloop keeps the methods of the last BufferedProtocol, and by them this object: 0.6 kB of
        # memory for each WebSocket (row `memory`)
        self._transport.set_protocol(_PLACEHOLDER)
        return self._transport, self.requests.input.take()

    def detach_stream(self) -> DetachedStream:
        """Detach the connection as a stream, which the server closes when it stops."""
        transport, received = self.detach()
        connections = self.server.connections
        try:
            stream = DetachedStream(transport, received, on_closed=connections.forget_stream)
        except BaseException:
            transport.abort()
            raise
        connections.add_stream(stream)
        return stream

    # The end

    def refuse(self, status: int, why: str) -> None:
        """Answer an invalid request, unless its response has begun, and close."""
        if not self.requests.open:
            return
        self.server.client_log.add(self.context, why)
        exchange = self.requests.move(ConnectionState.CLOSING)
        added: Mapping[str, str] = {}
        if exchange is not None:
            started = exchange.response.started
            exchange.abandon()
            if started:
                self.abort()
                return
            added = self.server.refusal_headers(exchange.head.headers)
        self.writer.write(refusal(status, self.server.date, added))
        self._finish(unread=True)

    def close(self, *, unread: bool) -> None:
        """Close once everything is written; `unread` tells that the client still sends."""
        self.requests.move(ConnectionState.CLOSING)
        self._finish(unread=unread)

    def _finish(self, *, unread: bool) -> None:
        """Close so that a client that still sends does not lose the last response.

        Closing a socket with unread bytes resets it, and a reset may overtake what was written
        last (RFC 9112, 9.6): so our side is closed first, and what comes is dropped for a while.
        """
        unread = bool(self.requests.input.take()) or unread
        self.writer.flush()
        self.writer.watch()
        if self._transport.is_closing():
            return
        if not unread:
            self._transport.close()
            return
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
        except (OSError, RuntimeError):  # the client's reset came first
            self._transport.abort()
        self.deadline.set(LINGER_TIMEOUT)
        self._read_or_pause()

    def abort(self) -> None:
        """Write the response that is held, then cut the connection."""
        self.writer.flush()
        self._transport.abort()

    def close_soon(self) -> None:
        """Close unless a request is in hand: its response will then be the last."""
        if self.requests.open and self.requests.exchange is None:
            self.close(unread=False)

    def check(self, now: float) -> None:
        """Act on deadlines, every second or so."""
        if self.writer.has_left(now):
            self._transport.abort()
            return
        if self.writer.is_stuck(now):
            self._transport.abort()
        if now >= self.deadline.due and not self._may_have_unread():
            self.deadline.clear()
            self._give_up()

    def _may_have_unread(self) -> bool:
        """Whether bytes that the client has sent in time may still be unread."""
        return self.requests.open and (self._paused or unread(self._transport) > 0)

    def _give_up(self) -> None:
        """Act on a client whose deadline has passed."""
        state = self.requests.state
        if state in (ConnectionState.REQUEST, ConnectionState.HEAD):
            self.refuse(408, "request not completed in time")
        elif state is ConnectionState.IDLE:
            self.close(unread=False)
        elif self.writer.untaken():
            self.deadline.set(LINGER_TIMEOUT)
        else:
            self._transport.abort()
