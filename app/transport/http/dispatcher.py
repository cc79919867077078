"""The Tornado application: from a request to its handler, which begins at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import tornado.web
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.websocket import WebSocketHandler

from app.common.cached_value import cached_value
from app.common.log_context import request_id
from app.transport import tornado_private
from app.transport.http.exchange import Exchange
from app.transport.http.request import Request
from app.transport.tasks import Tasks

_Work = Coroutine[Any, Any, None]
#: Returns the work on the request of a handler with something around it.
Around = Callable[[tornado.web.RequestHandler, _Work], _Work]

_GOING_AWAY = 1001  # RFC 6455, 7.4.1


class Dispatcher(tornado.web.Application):
    """A Tornado application that runs a handler at once, instead of in the loop's next turn.

    Most requests are answered without a wait; for them the loop has nothing to do. It serves the
    requests of Tornado's own HTTP server too.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tasks = Tasks()
        #: Wraps the work on each request; None: it runs as it is.
        self.around: Around | None = None

    @cached_value
    def done(self) -> asyncio.Future[None]:
        """The end of a body that is here already."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Find the handler at once: an exchange has read the head of its request already."""
        if isinstance(request_conn, Exchange):
            delegate: HTTPMessageDelegate = self.find_handler(Request(request_conn, server_conn))
            return delegate
        return super().start_request(server_conn, request_conn)

    def get_handler_delegate(  # type: ignore[override]  # it names a private class of Tornado's
        self,
        request: HTTPServerRequest,
        target_class: type[tornado.web.RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> HTTPMessageDelegate:
        values = path_args or (), path_kwargs or {}
        return _Handling(self, request, target_class, target_kwargs or {}, values)


class _Handling(HTTPMessageDelegate):
    """Makes the handler of a request and runs it, as Tornado's own delegate does, but at once."""

    __slots__ = (
        "_app",
        "_body",
        "_class",
        "_handler",
        "_options",
        "_request",
        "_streams",
        "_values",
    )

    def __init__(
        self,
        app: Dispatcher,
        request: HTTPServerRequest,
        handler_class: type[tornado.web.RequestHandler],
        options: Mapping[str, Any],
        values: tuple[Sequence[bytes], Mapping[str, bytes]],
    ) -> None:
        """`values` are those that the route has found in the path."""
        self._app = app
        self._request = request
        self._class = handler_class
        self._options = options
        self._values = values
        # whether the handler begins before the body is here, which it gets piece by piece
        self._streams = tornado_private.streams_body(handler_class) and not _has_body(request)
        self._handler: tornado.web.RequestHandler | None = None
        self._body = bytearray()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if not self._streams:
            return None
        loop = asyncio.get_running_loop()
        tornado_private.set_body_future(self._request, loop.create_future())
        prepared = loop.create_future()
        self._begin(prepared)
        return prepared

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._streams and self._handler is not None:
            return self._handler.data_received(chunk)
        self._body += chunk
        return None

    def finish(self) -> None:
        if self._streams:
            tornado_private.end_body(self._request)
            return
        self._request.body = bytes(self._body)
        tornado_private.set_body_future(self._request, self._app.done)
        self._begin(None)

    def on_connection_close(self) -> None:
        if self._handler is not None:
            self._handler.on_connection_close()

    def close_soon(self) -> None:
        """Send the close frame of a plain WebSocket: the server stops."""
        if isinstance(self._handler, WebSocketHandler):
            self._handler.close(_GOING_AWAY, "server shutdown")

    def _begin(self, prepared: asyncio.Future[None] | None) -> None:
        """Run the handler until it waits or ends."""
        app, request = self._app, self._request
        handler = self._handler = self._class(app, request, **self._options)
        if prepared is not None:
            tornado_private.tell_when_prepared(handler, prepared)
        transforms = [transform(request) for transform in app.transforms]
        context = app.tasks.new_context()
        context.run(request_id.set, request.headers.get("X-Request-ID", ""))
        work = tornado_private.run_handler(handler, transforms, self._values)
        if app.around is not None:
            work = app.around(handler, work)
        app.tasks.start(work, context=context)


def _has_body(request: HTTPServerRequest) -> bool:
    """Whether the whole body is here, or there is none."""
    connection = request.connection
    return isinstance(connection, Exchange) and connection.body.done
