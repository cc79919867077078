"""One HTTP/1 client: its requests in, their responses out, one at a time and in order."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError

from app.transport.backlog import unread
from app.transport.http.context import HttpContext
from app.transport.http.deadline import Deadline
from app.transport.http.detached import DetachedStream
from app.transport.http.exchange import Exchange
from app.transport.http.head import Refused, parse_head
from app.transport.http.input import HttpInput
from app.transport.http.writer import HttpWriter

if TYPE_CHECKING:
    from app.transport.http.server import HttpServer

log = logging.getLogger("app.transport.http")

#: Seconds in which a client that was answered early may still send; bytes that it may send then.
LINGER = 2.0
DRAIN = 16_000_000
#: Headers of a response that the server gives by itself.
_REFUSAL = (
    "Connection: close",
    "Content-Length: 0",
    "X-Content-Type-Options: nosniff",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
)


class HttpConnection(asyncio.BufferedProtocol):
    """Reads requests strictly, hands each to the application, and knows when to stop.

    What comes in while a request is in hand waits unparsed, and reading pauses: a client has at
    most one read of the server's buffer in memory.
    """

    __slots__ = (
        "_closing",
        "_deadline",
        "_drained",
        "_exchange",
        "_input",
        "_paused",
        "_transport",
        "_working",
        "context",
        "server",
        "writer",
    )

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._exchange: Exchange | None = None
        self._input = HttpInput()
        self._deadline = Deadline(server.loop, server.header_timeout)
        self._working = False
        self._paused = False  # reading
        self._closing = False
        self._drained = 0  # bytes dropped since the last response

    @property
    def draining(self) -> bool:
        """Whether the server stops, so that this response is the last one."""
        return self.server.draining

    @property
    def has_pending(self) -> bool:
        """Whether bytes of the next request, or of the body of this one, have arrived."""
        return bool(self._input.data)

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self.context = HttpContext(transport, self.server.protocol)
        self.writer = HttpWriter(self.server, self._transport)  # pyright: ignore[reportArgumentType]
        self._deadline.set(self.server.header_timeout)
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
        self._input.add(bytes(self.server.read_buffer[:nbytes]))
        self.work()

    def eof_received(self) -> bool:
        """Answer the complete requests of a client that has shut its side, then close.

        The client may also have left. The server notices when it writes, or at a deadline.
        """
        exchange = self._exchange
        asks = bool(self._input.data) if exchange is None else exchange.answers_half_closed
        # with TLS there is no half of a connection
        if self._closing or not asks or not self._transport.can_write_eof():
            return False
        getting = exchange is not None and exchange.head.start_line.method == "GET"
        self.writer.half_close(getting=getting)
        self.work()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.server.forget(self)
        exchange, self._exchange = self._exchange, None
        self.writer.lose()
        if exchange is not None:
            exchange.abandon()
        self.server.app.on_close(self)

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()
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
            self._refuse(400, "Host, query or body refused by Tornado")
        except (Exception, asyncio.CancelledError):
            log.exception("a request could not be handed to its handler")
            self._refuse(500, "internal server error")
        finally:
            self._working = False
        if self.writer.half_closed:
            self._close_unless_complete()
        else:
            self._read_or_pause()

    def _close_unless_complete(self) -> None:
        """Close if a client has shut its side in the middle of a request."""
        exchange = self._exchange
        if exchange is None:
            incomplete = self._input.in_head or not self._input.data
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
            return self._take_body(exchange)
        self._deadline.clear()
        if not self._has_turn(exchange, exchange.body_size):
            return False
        exchange.receive()
        return True

    def _take_body(self, exchange: Exchange) -> bool:
        """Deliver the part of the body that has arrived; return whether to go on."""
        size = len(self._input.data)
        if not size:
            return False
        if exchange.head.length is None and not self._has_turn(exchange, size):
            return False  # chunks can be tiny: 64 kB of them take 13 ms
        exchange.turn = None
        self._input.data = exchange.take(bytes(self._input.data))
        return exchange.body.done or len(self._input.data) < size

    def _has_turn(self, exchange: Exchange, size: int) -> bool:
        """Return whether work on so many bytes may begin; if not, it begins in a later turn."""
        if exchange.turn is None:
            begin = functools.partial(self._begin_turn, exchange)
            exchange.turn = self.server.turns.enter(size, begin)
        return exchange.turn

    def _begin_turn(self, exchange: Exchange) -> None:
        """Go on with a large body, now that its turn has come."""
        exchange.turn = True
        if self._exchange is exchange:
            self.work()

    def _begin(self) -> bool:
        """Start with the next request if its head is here."""
        server, received = self.server, self._input
        if not received.data or self.writer.congested:
            return False
        head = received.take_head(server.max_header_size)
        if head is None:
            if not received.in_head:
                received.in_head = True
                self._deadline.set(server.header_timeout)
            return False
        self._deadline.clear()
        self._exchange = Exchange(self, parse_head(head), server.max_body_size, server.body_timeout)  # pyright: ignore[reportArgumentType]
        self._exchange.begin(server.app)
        return True

    def _accept(self, exchange: Exchange) -> None:
        """Let the body come, now that the delegate has seen the head."""
        exchange.accept()
        if exchange.body.done:
            return
        if exchange.head.expects_continue and not exchange.started:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._deadline.pause()
        self._deadline.set(exchange.body_timeout)

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
        self._deadline.set(self.server.keep_alive_timeout)
        if self._input.data:
            # after everybody else's, and not in the context of this one
            self.server.loop.call_soon(self.work, context=contextvars.Context())
        return False

    def response_finished(self) -> None:
        """Go on, unless another protocol does."""
        exchange = self._exchange
        if exchange is not None and exchange.status == 101:
            self._deadline.set(self.server.header_timeout)
        else:
            self.work()

    def _read_or_pause(self) -> None:
        """Read unless what is here already has to wait."""
        exchange = self._exchange
        waiting = bool(self._input.data)
        if exchange is None:
            pause = waiting and not self._input.in_head  # it waits for its turn
        else:
            pause = exchange.busy or exchange.followed or (exchange.turn is False and waiting)
            if exchange.followed:
                exchange.tell_of_next()
        pause = (pause or self.writer.congested) and not self._closing
        if pause is not self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._deadline.pause()
                self._transport.pause_reading()
            else:
                self._deadline.resume()
                self._transport.resume_reading()

    # Another protocol

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Let go of the transport; return it with what was read but not used."""
        if self._transport.is_closing() or self.writer.half_closed:
            raise StreamClosedError
        self._exchange = None
        self._closing = True
        self.server.forget(self)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return self._transport, self._input.take()

    def detach_stream(self) -> DetachedStream:
        """Detach the connection as a stream, which the server closes when it stops."""
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
        """Answer an invalid request, unless its response has begun, and close."""
        self.server.client_log.add(self.context, why)
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
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        self._close(unread=True)

    def _close(self, *, unread: bool) -> None:
        """Close once everything is written; a client that still sends must not lose the answer.

        Closing a socket with unread bytes resets it, and a reset may overtake what was written
        last (RFC 9112, 9.6): so our side is closed first, and what comes is dropped for a while.
        """
        unread = bool(self._input.take()) or unread
        self._closing = True
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
        self._deadline.set(LINGER)
        self._read_or_pause()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    def close_soon(self) -> None:
        """Close unless a request is in hand: its response will then be the last."""
        if self._exchange is None:
            self._close(unread=False)

    def _may_have_unread(self) -> bool:
        """Whether bytes that the client has sent in time may still be unread."""
        return not self._closing and (self._paused or unread(self._transport) > 0)

    def check(self, now: float) -> None:
        """Act on deadlines, every second or so."""
        if self.writer.has_left(now):
            self._transport.abort()
            return
        if self.writer.is_stuck(now):
            self._transport.abort()
        if now >= self._deadline.due and not self._may_have_unread():
            self._deadline.clear()
            self._give_up()

    def _give_up(self) -> None:
        """Act on a client whose deadline has passed."""
        if self._closing and self.writer.untaken():
            self._deadline.set(LINGER)
        elif self._closing:
            self._transport.abort()
        elif self._exchange is not None or self._input.in_head:
            self._refuse(408, "request not completed in time")
        else:
            self.close_soon()
