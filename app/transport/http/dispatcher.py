"""How a request comes to its Tornado handler: at once, in the turn of the loop that read it."""

from __future__ import annotations

import asyncio
import copy
import functools
import time
from collections.abc import Awaitable, Mapping, Sequence
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, cast

import tornado.web
from tornado.concurrent import future_set_result_unless_cancelled
from tornado.escape import parse_qs_bytes
from tornado.httputil import (
    HTTPConnection,
    HTTPFile,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    split_host_and_port,
)
from tornado.websocket import WebSocketHandler

from app.transport.http.cookies import cookie_jar
from app.transport.tasks import Tasks

if TYPE_CHECKING:
    from app.transport.http.exchange import Exchange

_MAX_ARGUMENTS = 1000  # in a query, as Tornado has it
_GOING_AWAY = 1001  # RFC 6455, 7.4.1


class Request(HTTPServerRequest):
    """Tornado's request, of which is made when it is asked for what few handlers ask for."""

    def __init__(self, exchange: Exchange, server_connection: object) -> None:
        """Raises HTTPInputError for a query of too many arguments."""
        head, context = exchange.head, exchange.context
        self.method, self.uri, self.version = head.start_line
        self.path, _, self.query = head.start_line.path.partition("?")
        if self.query.count("&") >= _MAX_ARGUMENTS:
            raise HTTPInputError("too many arguments")
        self.headers = head.headers
        self.host = head.host
        self.remote_ip: str | None = context.remote_ip
        self.protocol = context.protocol
        self.connection = exchange
        self.server_connection = server_connection
        self.body = b""
        self._start_time = time.time()
        self._finish_time = None

    @functools.cached_property
    def host_name(self) -> str:  # type: ignore[override]
        return split_host_and_port(self.host.lower())[0]

    @functools.cached_property
    def cookies(self) -> SimpleCookie:  # pyright: ignore[reportIncompatibleMethodOverride]
        return cookie_jar(self.headers.get_list("Cookie"))

    @functools.cached_property
    def query_arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return parse_qs_bytes(self.query, keep_blank_values=True)

    @functools.cached_property
    def arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return copy.deepcopy(self.query_arguments)

    @functools.cached_property
    def body_arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return {}

    @functools.cached_property
    def files(self) -> dict[str, list[HTTPFile]]:  # type: ignore[override]
        return {}


def _exchange(request: HTTPServerRequest) -> Exchange:
    return cast("Exchange", request.connection)


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
        self._streams = handler_class._stream_request_body and not _exchange(request).body.done
        self._handler: tornado.web.RequestHandler | None = None
        self._body = bytearray()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if not self._streams:
            return None
        loop = asyncio.get_running_loop()
        self._request._body_future = loop.create_future()
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
            future_set_result_unless_cancelled(self._request._body_future, None)
            return
        self._request.body = bytes(self._body)
        self._request._body_future = self._app.done
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
        handler._prepared_future = prepared  # type: ignore[assignment]
        transforms = [transform(request) for transform in app.transforms]
        arguments, named = self._values
        app.tasks.start(handler._execute(transforms, *arguments, **named))


class Dispatcher(tornado.web.Application):
    """A Tornado application that runs a handler at once, instead of in the loop's next turn.

    Most requests are answered without a wait; for them the loop has nothing to do.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tasks = Tasks()

    @functools.cached_property
    def done(self) -> asyncio.Future[None]:
        """The end of a body that is here already."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Find the handler at once: the head of the request is read already."""
        return self.find_handler(Request(cast("Exchange", request_conn), server_conn))

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
