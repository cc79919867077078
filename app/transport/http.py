"""One HTTP/1 client: its requests in, their responses out, one at a time and in order."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError

from app.transport.backlog import unacknowledged, unread
from app.transport.detached import DetachedStream
from app.transport.http_exchange import Exchange
from app.transport.http_head import Refused, find_head, parse_head

if TYPE_CHECKING:
    from app.transport.http_server import HttpServer

log = logging.getLogger("app.transport.http")

#: Seconds in which a client that was answered early may still send; bytes that it may send then.
LINGER = 2.0
DRAIN = 16_000_000
#: Seconds for the next piece of a response to a client that has shut its side; and of one to a
#: GET, which may wait for long and whose client has rather left.
HALF_CLOSED = 10.0
HALF_CLOSED_GET = 1.0
#: Headers of a response that the server gives by itself.
_REFUSAL = (
    "Connection: close",
    "Content-Length: 0",
    "X-Content-Type-Options: nosniff",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
)


class HttpContext:
    """Who is at the other end, by the names that Tornado uses."""

    __slots__ = ("address", "protocol", "remote_ip")

    def __init__(self, transport: asyncio.BaseTransport, protocol: str) -> None:
        self.address: Any = transport.get_extra_info("peername")
        # of a Unix socket it is a path, and None of a client that has left already
        internet = isinstance(self.address, tuple)
        self.remote_ip: str = self.address[0] if internet else "0.0.0.0"  # noqa: S104
        self.protocol = protocol

    def __str__(self) -> str:
        return self.remote_ip


class HttpConnection(asyncio.BufferedProtocol):
    """Reads requests strictly, hands each to the application, and knows when to stop.

    What comes in while a request is in hand waits unparsed, and reading pauses: a client has at
    most one read of the server's buffer in memory.
    """

    __slots__ = (
        "_closing",
        "_congested",
        "_drained",
        "_due",
        "_exchange",
        "_half_closed_due",
        "_in_head",
        "_paused",
        "_paused_at",
        "_pending",
        "_searched",
        "_stuck_due",
        "_taken",
        "_transport",
        "_waiters",
        "_working",
        "_written",
        "context",
        "server",
    )

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._exchange: Exchange | None = None
        self._pending: bytes | bytearray = b""
        self._searched = 0  # bytes of it in which the end of the head is not
        self._in_head = False  # the beginning of a request is here
        self._working = False
        self._paused = False  # reading
        self._paused_at = 0.0  # loop time
        self._congested = False  # writing
        self._closing = False
        self._drained = 0  # bytes dropped since the last response
        self._due = math.inf  # loop time at which the client has been waited for enough
        self._stuck_due = math.inf  # the same for its reading of what we write
        self._written = 0  # bytes of responses
        self._taken = 0  # how many had reached the client when _stuck_due was set
        self._waiters: list[asyncio.Future[None]] = []
        #: loop time at which a client that has shut its side is taken to have left; 0: it has not
        self._half_closed_due = 0.0

    @property
    def draining(self) -> bool:
        """Whether the server stops, so that this response is the last one."""
        return self.server.draining

    @property
    def has_pending(self) -> bool:
        """Whether bytes of the next request are here, or of the body of this one."""
        return bool(self._pending)

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self.context = HttpContext(transport, self.server.protocol)
        self._due = self.server.loop.time() + self.server.header_timeout
        self.server.opened(self)
        if self.server.closing:
            self.close_soon()
        elif self.server.descriptors.scarce(transport):
            self._refuse(503, self.server.descriptors.shortage)
            if self.server.descriptors.nearly_gone(transport):
                self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            self._drained += nbytes
            if self._drained > DRAIN:
                self._transport.abort()
            return
        data = bytes(self.server.read_buffer[:nbytes])
        if not self._pending:
            self._pending = data
        else:  # a bytearray grows in place, so that many small reads are not copied each time
            if isinstance(self._pending, bytes):
                self._pending = bytearray(self._pending)
            self._pending += data
        self.work()

    def eof_received(self) -> bool:
        """Answer what is complete of a client that has shut its side, then close.

        It may as well have left: that shows when something is written, or when time is up.
        """
        exchange = self._exchange
        asks = bool(self._pending) if exchange is None else exchange.answers_half_closed
        # with TLS there is no half of a connection
        if self._closing or not asks or not self._transport.can_write_eof():
            return False
        getting = exchange is not None and exchange.head.start_line.method == "GET"
        allowed = HALF_CLOSED_GET if getting else HALF_CLOSED
        self._half_closed_due = self.server.loop.time() + allowed
        self.work()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.server.forget(self)
        exchange, self._exchange = self._exchange, None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(StreamClosedError())
                waiter.exception()
        if exchange is not None:
            exchange.abandon()
        self.server.app.on_close(self)

    def pause_writing(self) -> None:
        self._congested = True
        self._watch_backlog()

    def resume_writing(self) -> None:
        self._congested = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.work()

    # Requests

    def work(self) -> None:
        """Go on until bytes, the application or the client have to be waited for."""
        if self._working:
            return
        self._working = True
        try:
            while not self._closing and self._step():
                pass
        except Refused as refused:
            self._refuse(refused.status, str(refused))
        except HTTPInputError:
            self._refuse(400, "a Host, query or body that Tornado refuses")
        except (Exception, asyncio.CancelledError):
            log.exception("a request could not be handed to its handler")
            self._refuse(500, "an error of our own")
        finally:
            self._working = False
        if self._half_closed_due:
            self._close_unless_complete()
        else:
            self._read_or_pause()

    def _close_unless_complete(self) -> None:
        """Close where a client that has shut its side has left a request unfinished."""
        exchange = self._exchange
        if exchange is None:
            incomplete = self._in_head or not self._pending
        else:
            incomplete = not exchange.body.done and not exchange.busy
        if incomplete and not self._closing:
            self._transport.close()

    def _step(self) -> bool:
        """Take the request one step further; False if something has to be waited for."""
        exchange = self._exchange
        if exchange is None:
            return self._begin()
        if exchange.busy:
            return False
        exchange.go_on()
        if exchange.finished:
            return exchange.status != 101 and self._end(exchange)
        if exchange.received:
            return False
        if not exchange.accepted:
            self._accept(exchange)
        if not exchange.body.done:
            if not self._pending:
                return False
            if exchange.head.length is None and not self._has_turn(exchange, len(self._pending)):
                return False  # chunks can be tiny: 64 kB of them take 13 ms
            exchange.turn = None
            before = len(self._pending)
            self._pending = exchange.take(bytes(self._pending))
            return exchange.body.done or len(self._pending) < before
        self._due = math.inf
        if not self._has_turn(exchange, exchange.body_size):
            return False
        exchange.receive()
        return True

    def _has_turn(self, exchange: Exchange, size: int) -> bool:
        """Tell whether work on so many bytes may begin; if not, it begins in a later turn."""
        if exchange.turn is None:
            admit = functools.partial(self._admit, exchange)
            exchange.turn = self.server.turns.enter(size, admit)
        return exchange.turn

    def _admit(self, exchange: Exchange) -> None:
        """Go on with a large body, now that its turn has come."""
        exchange.turn = True
        if self._exchange is exchange:
            self.work()

    def _begin(self) -> bool:
        """Start with the next request if its head is here."""
        if not self._pending or self._congested:
            return False
        server = self.server
        end = find_head(self._pending, server.max_header_size, self._searched)
        if not end:
            self._searched = len(self._pending)
            if not self._in_head:
                self._in_head = True
                self._due = server.loop.time() + server.header_timeout
            return False
        head = parse_head(bytes(self._pending[:end]))
        self._pending = bytes(self._pending[end:])
        self._searched = 0
        self._in_head = False
        self._due = math.inf
        self._exchange = Exchange(self, head, server.max_body_size, server.body_timeout)
        self._exchange.begin(server.app)
        return True

    def _accept(self, exchange: Exchange) -> None:
        """Let the body come, now that the delegate has seen the head."""
        exchange.accept()
        if exchange.body.done:
            return
        if exchange.head.expects_continue and not exchange.started:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._paused_at = self.server.loop.time()
        self._due = self._paused_at + exchange.body_timeout

    def _end(self, exchange: Exchange) -> bool:
        """Finish with a request whose response is written; the next one waits for its turn."""
        self._exchange = None
        if exchange.received:
            exchange.release()
        else:
            exchange.abandon()
        if not exchange.keep_alive or self.draining:
            self._close(unread=not exchange.body.done)
            return False
        self._due = self.server.loop.time() + self.server.keep_alive_timeout
        if self._pending:
            # after everybody else's, and not in the context of this one
            self.server.loop.call_soon(self.work, context=contextvars.Context())
        return False

    def response_finished(self) -> None:
        """Go on, unless another protocol does."""
        exchange = self._exchange
        if exchange is not None and exchange.status == 101:
            self._due = self.server.loop.time() + self.server.header_timeout
        else:
            self.work()

    def _read_or_pause(self) -> None:
        """Read unless what is here already has to wait."""
        exchange = self._exchange
        if exchange is None:
            pause = bool(self._pending) and not self._in_head  # it waits for its turn
        else:
            waits = exchange.turn is False and bool(self._pending)
            pause = exchange.busy or exchange.followed or waits
            if exchange.followed:
                exchange.tell_of_next()
        pause = (pause or self._congested) and not self._closing
        if pause is not self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._paused_at = self.server.loop.time()
                self._transport.pause_reading()
            else:
                # no deadline of the client runs while the server does not read
                self._due += self.server.loop.time() - self._paused_at
                self._transport.resume_reading()

    # Responses

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Write; the future is done once the client reads fast enough for more."""
        try:
            # uvloop's write() raises if connection_lost() is about to come
            if self._transport.is_closing():
                return self.gone()
            self._written += len(data)
            self._transport.write(data)
            if self._half_closed_due:
                self._half_closed_due = self.server.loop.time() + HALF_CLOSED
        except Exception:
            log.exception("a write failed, the connection is cut")
            self._transport.abort()
            return self.gone()
        if not self._congested:
            return self.server.done
        waiter: asyncio.Future[None] = self.server.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def gone(self) -> asyncio.Future[None]:
        """Return what a write results in whose client has gone; it need not be awaited."""
        future: asyncio.Future[None] = self.server.loop.create_future()
        future.set_exception(StreamClosedError())
        future.exception()
        return future

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Let go of the transport; return it with what was read but not used."""
        if self._transport.is_closing() or self._half_closed_due:
            raise StreamClosedError
        self._exchange = None
        self._closing = True
        self.server.forget(self)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        pending, self._pending = self._pending, b""
        return self._transport, bytes(pending)

    def detach_stream(self) -> DetachedStream:
        """Let go of the connection as a stream of its own; the server closes it when it stops."""
        transport, received = self.detach()
        try:
            stream = DetachedStream(transport, received, on_closed=self.server.forget_stream)
        except BaseException:
            transport.abort()
            raise
        self.server.streams.add(stream)
        return stream

    # The end

    def _refuse(self, status: int, why: str) -> None:
        """Answer a request that is no good, if there is still time to, and close."""
        self.server.complaints.add(self.context, why)
        exchange, self._exchange = self._exchange, None
        phrase = HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}", f"Date: {self.server.date}", *_REFUSAL]
        if exchange is not None:
            started = exchange.started
            exchange.abandon()
            if started:
                self._transport.abort()
                return
            added = self.server.refusal_headers(exchange.head.headers)
            lines += [f"{name}: {value}" for name, value in added.items()]
        self.write("\r\n".join([*lines, "", ""]).encode())
        self._close(unread=True)

    def _close(self, *, unread: bool) -> None:
        """Close once everything is written; a client that still sends must not lose the answer.

        Closing a socket with unread bytes resets it, and a reset may overtake what was written
        last (RFC 9112, 9.6): so our side is closed first, and what comes is dropped for a while.
        """
        unread = unread or bool(self._pending)
        self._closing, self._pending = True, b""
        self._watch_backlog()
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
        self._due = self.server.loop.time() + LINGER
        self._read_or_pause()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def close_soon(self) -> None:
        """Close unless a request is in hand: its response will then be the last."""
        if self._exchange is None:
            self._close(unread=False)

    def _watch_backlog(self) -> None:
        """Give the client a while to take some of what is written."""
        untaken = self.untaken()
        self._taken = self._written - untaken
        patience = self.server.body_timeout if untaken else math.inf
        self._stuck_due = self.server.loop.time() + patience

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        return self._transport.get_write_buffer_size() + unacknowledged(self._transport)

    def _server_is_behind(self) -> bool:
        """Whether what the client has sent may still be unread, so that it cannot be judged."""
        return not self._closing and (self._paused or unread(self._transport) > 0)

    def check(self, now: float) -> None:
        """Act on deadlines, every second or so."""
        if 0 < self._half_closed_due <= now and not self.untaken():
            self._transport.abort()
            return
        if now >= self._stuck_due:
            if self._written - self.untaken() == self._taken:
                self._transport.abort()
            else:
                self._watch_backlog()
        if now < self._due or self._server_is_behind():
            return
        self._due = math.inf
        if self._closing and self.untaken():
            self._due = now + LINGER
        elif self._closing:
            self._transport.abort()
        elif self._exchange is not None or self._in_head:
            self._refuse(408, "a request that does not come to its end")
        else:
            self.close_soon()
