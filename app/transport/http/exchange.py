"""One HTTP request and its response, as Tornado's handlers see the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from tornado import gen, httputil
from tornado.iostream import StreamClosedError

from app.transport.http.body import ChunkedBody, FixedBody
from app.transport.http.context import HttpContext
from app.transport.http.detached import DetachedStream
from app.transport.http.head import Head, Refused
from app.transport.http.writer import HttpWriter

log = logging.getLogger("app.transport.http")


class Handover(NamedTuple):
    """A connection that another protocol takes over: by `set_protocol`, and at once."""

    transport: asyncio.Transport
    received: bytes  # what the client has sent after its request
    unsent: bytes  # the head of the 101, to be written first of all


class Server(Protocol):
    """What is asked of the HTTP server."""

    @property
    def date(self) -> str: ...
    @property
    def done(self) -> asyncio.Future[None]: ...


class Connection(Protocol):
    """What an exchange asks of its connection."""

    context: HttpContext
    writer: HttpWriter

    @property
    def server(self) -> Server: ...
    @property
    def draining(self) -> bool: ...
    @property
    def has_pending(self) -> bool: ...
    def work(self) -> None: ...
    def response_finished(self) -> None: ...
    def abort(self) -> None: ...
    def detach(self) -> tuple[asyncio.Transport, bytes]: ...
    def detach_stream(self) -> DetachedStream: ...


class Exchange(httputil.HTTPConnection):
    """Feeds one request to its delegate and frames the response that comes back.

    Each request has an object of its own, so that a handler that writes after its response is
    finished cannot write into the next one, which behind a proxy may be another visitor's.
    """

    def __init__(
        self, connection: Connection, head: Head, largest_body: int, body_timeout: float
    ) -> None:
        self.context = connection.context
        self.head = head
        self.body = FixedBody(head.length) if head.length is not None else ChunkedBody()
        self.accepted = False  # its body may come
        self.received = False  # the delegate has the whole request
        self.started = False  # the response's head is written
        self.finished = False
        self.closed = False
        #: Whether a client that has shut its side may still wait for the response.
        self.answers_half_closed = True
        self.keep_alive = head.keep_alive
        self.status = 0
        self.body_timeout = body_timeout  # seconds
        self._connection = connection
        self._delegate: httputil.HTTPMessageDelegate | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._largest_body = largest_body  # bytes
        self.body_size = 0  # bytes of it that are here
        self.turn: bool | None = None  # whether work on the body may begin; None: not asked
        self._chunked = False
        self._switching = (
            b""  # the head of a 101, which goes out with the new protocol's first word
        )
        self._remaining: int | None = None  # bytes of the response's body; None: any number
        self._on_close: Callable[[], None] | None = None
        self._on_next: Callable[[], None] | None = None

    # The request, driven by the connection

    def begin(self, app: httputil.HTTPServerConnectionDelegate) -> None:
        delegate = app.start_request(self._connection, self)
        awaitable = delegate.headers_received(self.head.start_line, self.head.headers)
        self._delegate = delegate
        self._wait_for(awaitable)

    @property
    def busy(self) -> bool:
        """Whether the delegate has to go on first."""
        return self._waiting is not None and not self._waiting.done()

    def go_on(self) -> None:
        """Raise what the delegate raised since it was waited for."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.result()

    def accept(self) -> None:
        """Let the body come: the delegate has seen the head. Raises Refused if it is too large."""
        self.accepted = True
        if self.head.length is not None and self.head.length > self._largest_body:
            raise Refused(413, "body too large")

    def take(self, data: bytes) -> bytes:
        """Deliver what of `data` is this request's body; return what is left over."""
        content, rest = self.body.take(data)
        self.body_size += len(content)
        if self.body_size > self._largest_body:
            raise Refused(413, "body too large")
        if content and not self.finished and self._delegate is not None:
            self._wait_for(self._delegate.data_received(content))
        return rest

    def receive(self) -> None:
        """Tell the delegate that the request is complete."""
        self.received = True
        if self._delegate is not None:
            self._delegate.finish()

    def abandon(self) -> None:
        """The client has gone, or is going: nobody reads a response any more."""
        if self.closed:
            return
        self.closed = True
        delegate, on_close = self._delegate, self._on_close
        self.release()
        try:
            if not self.received:
                if delegate is not None:
                    delegate.on_connection_close()
            elif on_close is not None:
                on_close()
        except Exception:
            log.exception("a handler failed when its client had gone")

    def release(self) -> None:
        """Let go of the handler, so that nothing has to wait for the garbage collector."""
        self.closed = True
        self._delegate = self._on_close = self._on_next = None

    def _wait_for(self, awaitable: Awaitable[None] | None) -> None:
        if awaitable is None:
            return
        future = gen.convert_yielded(awaitable)
        if future.done():
            future.result()
        else:
            self._waiting = future
            future.add_done_callback(self._waited)

    def _waited(self, future: asyncio.Future[None]) -> None:
        if self._waiting is future:
            self._connection.work()
        elif not future.cancelled():
            future.exception()  # nobody is there to be told

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        return self._connection.writer.untaken()

    # The response: Tornado's interface

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Let `callback` be called if the client leaves before the response is finished."""
        if not self.closed:
            self._on_close = callback

    @property
    def followed(self) -> bool:
        """Whether another request waits behind this one, which has been received."""
        return self.received and self._connection.has_pending

    def set_next_callback(self, callback: Callable[[], None]) -> None:
        """Let `callback` be called once when another request comes and waits behind this one."""
        self._on_next = callback

    def tell_of_next(self) -> None:
        """Call what `set_next_callback` was given."""
        callback, self._on_next = self._on_next, None
        if callback is not None:
            callback()

    def set_max_body_size(self, max_body_size: int) -> None:
        """Change the limit for this request, in bytes."""
        self._largest_body = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Change the seconds that this request's body has to arrive."""
        self.body_timeout = timeout

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Write the response's head, and the beginning of its body (RFC 9112, 6.3 and 9.3)."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        if self.closed or self.finished:
            return self._connection.writer.gone()
        if self.started:
            self._fail("Tried to write the headers twice")
        self.status = start_line.code
        self._frame(headers)
        if "Date" not in headers:
            headers["Date"] = self._connection.server.date  # RFC 9110, 6.6.1
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        text = "\r\n".join(lines)
        breaks = len(lines) - 1
        if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
            raise ValueError("a header of the response has CR, LF or NUL in it")
        data = text.encode("latin-1") + b"\r\n\r\n"
        self.started = True
        if self.status == 101:
            self._switching = data
            return self._connection.server.done
        return self._connection.writer.write(data + self._format(chunk) if chunk else data)

    def _frame(self, headers: httputil.HTTPHeaders) -> None:
        """Decide how the end of the body shows, and whether the connection outlives it."""
        method, _, version = self.head.start_line
        status = self.status
        length = headers.get("Content-Length")
        if method == "HEAD" or status < 200 or status in (204, 304):
            self._remaining = 0
        elif length is not None:
            if not length.isascii() or not length.isdecimal():
                raise ValueError("a Content-Length of the response is no number")
            self._remaining = int(length)
        elif version == "HTTP/1.1":
            self._chunked = True
        else:
            self.keep_alive = False  # the end of the connection is the end of the body
        if status == 101:
            return
        if not self.body.done or self._connection.draining:
            self.keep_alive = False
        elif self.keep_alive and "Connection" in headers:
            self.keep_alive = "close" not in headers["Connection"].lower()
        if self.keep_alive is (version == "HTTP/1.0"):  # not what the version implies
            headers["Connection"] = "Keep-Alive" if self.keep_alive else "close"
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"

    def _format(self, chunk: bytes) -> bytes:
        if self._remaining is not None:
            self._remaining -= len(chunk)
            if self._remaining < 0:
                self._fail("Tried to write more data than Content-Length")
        if self._chunked and chunk:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        return chunk

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Write a piece of the body."""
        if self.closed or self.finished:
            return self._connection.writer.gone()
        if not self.started:
            self._fail("Tried to write a body before its headers")
        return self._connection.writer.write(self._format(bytes(chunk)))

    def finish(self) -> None:
        """End the response."""
        if self.closed or self.finished:
            return
        if not self.started:
            self._fail("Tried to finish a response before its headers")
        if self._remaining:
            self._fail(f"Tried to write {self._remaining} bytes less than Content-Length")
        if self._chunked:
            self._connection.writer.write(b"0\r\n\r\n")
        self.finished = True
        self._connection.response_finished()

    def _fail(self, why: str) -> None:
        """Cut the connection: the client must not take what it has for a whole response."""
        self._connection.abort()
        raise httputil.HTTPOutputError(why)

    def hand_over(self) -> Handover:
        """Let go of the connection, after a 101 (RFC 9110, 7.8).

        Raises StreamClosedError if the client has gone.
        """
        if self.closed:
            raise StreamClosedError
        if self.status != 101 or not self.finished:
            raise RuntimeError("only a finished 101 response hands its connection over")
        self.release()
        transport, received = self._connection.detach()
        return Handover(transport, received, self._switching)

    def detach(self) -> DetachedStream:
        """Detach the connection and return it as an IOStream (`RequestHandler.detach`).

        It is for a 101, which is written first, or for a response that has not begun. Raises
        StreamClosedError if the client has gone.
        """
        if self.closed:
            raise StreamClosedError
        if self.started and not (self.status == 101 and self.finished):
            self._connection.abort()  # Tornado takes the response for finished by now
            raise RuntimeError("only a finished 101, or no response at all, can be detached")
        close_soon = getattr(self._delegate, "close_soon", None)
        self.release()
        stream = self._connection.detach_stream()
        stream.close_soon = close_soon
        stream.write(self._switching)
        return stream
