"""One HTTP request and its response, as Tornado's handlers see the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from tornado import gen, httputil
from tornado.iostream import StreamClosedError

from app.transport.http.body import ChunkedBody, FixedBody
from app.transport.http.client_address import HttpContext
from app.transport.http.detached import DetachedStream
from app.transport.http.head import Head, Refused
from app.transport.http.response import Response
from app.transport.http.states import REQUEST, RequestState, ResponseState, ServerState, follow
from app.transport.http.writer import HttpWriter

log = logging.getLogger("app.transport.http")

_BODY, _COMPLETE = RequestState.BODY, RequestState.COMPLETE
_SWITCHING, _WRITTEN, _CLOSED = (
    ResponseState.SWITCHING,
    ResponseState.COMPLETE,
    ResponseState.CLOSED,
)
_SERVING = ServerState.SERVING


class Handover(NamedTuple):
    """A connection that another protocol takes over: by `set_protocol`, and at once."""

    transport: asyncio.Transport
    received: bytes  # what the client has sent after its request
    unsent: bytes  # the head of the 101, to be written first of all


class Server(Protocol):
    """What an exchange asks of the HTTP server."""

    state: ServerState

    @property
    def date(self) -> str: ...


class Connection(Protocol):
    """What an exchange asks of its connection."""

    context: HttpContext
    writer: HttpWriter

    @property
    def server(self) -> Server: ...
    @property
    def has_pending(self) -> bool: ...
    def work(self) -> None: ...
    def response_finished(self) -> None: ...
    def abort(self) -> None: ...
    def detach(self) -> tuple[asyncio.Transport, bytes]: ...
    def detach_stream(self) -> DetachedStream: ...


class Exchange(httputil.HTTPConnection):
    """Feeds one request to its delegate, and writes the response that comes back.

    Each request has an object of its own, so that a handler that writes after its response is
    finished cannot write into the next one, which behind a proxy may be another visitor's.
    """

    def __init__(
        self, connection: Connection, head: Head, max_body_size: int, body_timeout: float
    ) -> None:
        self.context = connection.context
        self.head = head
        self.body = FixedBody(head.length) if head.length is not None else ChunkedBody()
        self.response = Response(head)
        self.request_state = RequestState.HEAD
        #: Whether a client that has shut its side may still wait for the response.
        self.answers_half_closed = True
        self.body_timeout = body_timeout  # seconds
        self.body_size = 0  # bytes of it that are here
        self.turn: bool | None = None  # whether work on the body may begin; None: not asked
        self._connection = connection
        self._delegate: httputil.HTTPMessageDelegate | None = None
        #: What the delegate has to do first.
        self.waiting: asyncio.Future[None] | None = None
        self._max_body_size = max_body_size  # bytes
        self._switching = b""  # the head of a 101, which leaves with the next protocol's first word
        self._on_close: Callable[[], None] | None = None
        self._on_next: Callable[[], None] | None = None

    # The request, driven by the connection

    def begin(self, app: httputil.HTTPServerConnectionDelegate) -> None:
        """Give the head to the application's delegate."""
        delegate = app.start_request(self._connection, self)
        awaitable = delegate.headers_received(self.head.start_line, self.head.headers)
        self._delegate = delegate
        self._wait_for(awaitable)

    @property
    def busy(self) -> bool:
        """Whether the delegate has to go on first."""
        return self.waiting is not None and not self.waiting.done()

    def go_on(self) -> None:
        """Raise the error of the delegate that was waited for, if it failed."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.result()

    def accept(self) -> None:
        """Let the body come: the delegate has seen the head. Raises Refused if it is too large."""
        self.request_state = follow(REQUEST, self.request_state, _BODY)
        if self.head.length is not None and self.head.length > self._max_body_size:
            raise Refused(413, "body too large")

    def take(self, data: bytes) -> bytes:
        """Deliver what of `data` is this request's body; return what is left over."""
        content, rest = self.body.take(data)
        self.body_size += len(content)
        if self.body_size > self._max_body_size:
            raise Refused(413, "body too large")
        if content and self.response.state < _WRITTEN and self._delegate is not None:
            self._wait_for(self._delegate.data_received(content))
        return rest

    def receive(self) -> None:
        """Tell the delegate that the request is complete."""
        self.request_state = follow(REQUEST, self.request_state, _COMPLETE)
        if self._delegate is not None:
            self._delegate.finish()

    def abandon(self) -> None:
        """Tell the handler that nobody reads its response any more."""
        if self.closed:
            return
        delegate, on_close = self._delegate, self._on_close
        self.release()
        try:
            if self.request_state is not _COMPLETE:
                if delegate is not None:
                    delegate.on_connection_close()
            elif on_close is not None:
                on_close()
        except Exception:
            log.exception("a handler failed when its client had gone")

    def release(self) -> None:
        """Drop the handler, so that nothing of it waits for the garbage collector."""
        self.response.close()
        self._delegate = self._on_close = self._on_next = None

    def _wait_for(self, awaitable: Awaitable[None] | None) -> None:
        if awaitable is None:
            return
        future = gen.convert_yielded(awaitable)
        if future.done():
            future.result()
        else:
            self.waiting = future
            future.add_done_callback(self._waited)

    def _waited(self, future: asyncio.Future[None]) -> None:
        if self.waiting is future:
            self._connection.work()
        elif not future.cancelled():
            future.exception()  # nobody awaits it

    # The response: Tornado's interface

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Write the response's head, and the beginning of its body."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        response, connection = self.response, self._connection
        if response.state >= _WRITTEN:
            return connection.writer.gone()
        last = not self.body.done or connection.server.state is not _SERVING
        try:
            data = response.begin(start_line, headers, connection.server.date, last)
            if response.state is _SWITCHING:
                self._switching = data
                return connection.writer.done
            if chunk:
                data += response.piece(chunk)
        except httputil.HTTPOutputError:
            connection.abort()  # the client must not take this for a whole response
            raise
        if response.whole:
            return connection.writer.write_soon(data)
        return connection.writer.write(data)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Write a piece of the body."""
        if self.response.state >= _WRITTEN:
            return self._connection.writer.gone()
        try:
            data = self.response.piece(bytes(chunk))
        except httputil.HTTPOutputError:
            self._connection.abort()
            raise
        return self._connection.writer.write(data)

    def finish(self) -> None:
        """End the response."""
        if self.response.state >= _WRITTEN:
            return
        try:
            end = self.response.end()
        except httputil.HTTPOutputError:
            self._connection.abort()
            raise
        if end:
            self._connection.writer.write(end)
        self._connection.response_finished()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Let `callback` be called if the client leaves before the response is finished."""
        if self.response.state is not _CLOSED:
            self._on_close = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """Change the limit for this request, in bytes."""
        self._max_body_size = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Change the seconds that this request's body has to arrive."""
        self.body_timeout = timeout

    def detach(self) -> DetachedStream:
        """Detach the connection and return it as an IOStream (`RequestHandler.detach`).

        It is for a 101, which is written first, or for a response that has not begun. Raises
        StreamClosedError if the client has gone.
        """
        if self.closed:
            raise StreamClosedError
        if self.response.state not in (ResponseState.NOTHING, ResponseState.SWITCHED):
            self._connection.abort()  # Tornado takes the response for finished by now
            raise RuntimeError("only a finished 101, or no response at all, can be detached")
        close_soon = getattr(self._delegate, "close_soon", None)
        self.release()
        stream = self._connection.detach_stream()
        stream.close_soon = close_soon
        stream.write(self._switching)
        return stream

    # Beyond Tornado's interface; for Engine.IO

    @property
    def closed(self) -> bool:
        """Whether nobody reads the response any more."""
        return self.response.state is _CLOSED

    @property
    def followed(self) -> bool:
        """Whether another request waits behind this one, which has been received."""
        return self.request_state is _COMPLETE and self._connection.has_pending

    def set_next_callback(self, callback: Callable[[], None]) -> None:
        """Let `callback` be called once when another request comes and waits behind this one."""
        self._on_next = callback

    def tell_of_next(self) -> None:
        """Call what `set_next_callback` was given."""
        callback, self._on_next = self._on_next, None
        if callback is not None:
            callback()

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        return self._connection.writer.untaken()

    def hand_over(self) -> Handover:
        """Let go of the connection, after a 101 (RFC 9110, 7.8).

        Raises StreamClosedError if the client has gone.
        """
        if self.closed:
            raise StreamClosedError
        if self.response.state is not ResponseState.SWITCHED:
            raise RuntimeError("only a finished 101 response hands its connection over")
        self.release()
        transport, received = self._connection.detach()
        return Handover(transport, received, self._switching)
