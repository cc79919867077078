"""The HTTP server: its listening sockets, its connections, their deadlines, its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import formatdate
from ssl import SSLContext
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerConnectionDelegate

from app.common.guard import logged
from app.common.rate_limited_log import RateLimitedLog
from app.transport.descriptors import Descriptors, failed_accept
from app.transport.http.connection import HttpConnection
from app.transport.http.detached import DetachedStream
from app.transport.timers import Alarm
from app.transport.turns import Turns

log = logging.getLogger("app.transport.http")

_BACKLOG = 1024  # connections that may wait to be accepted
_LAST_REQUESTS = 0.05  # seconds for what was sent before the end was to be seen


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that wait to be accepted."""
    with contextlib.suppress(OSError):  # no more of them
        while True:
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            yield accepted


class HttpServer:
    """Serves HTTP/1.1 and 1.0 (RFC 9112) to a Tornado application.

    Sizes are in bytes, times in seconds. It replaces `tornado.httpserver.HTTPServer` at a
    fraction of its cost. It parses strictly, and limits all that a client can make it wait for or
    keep.
    """

    def __init__(
        self,
        app: HTTPServerConnectionDelegate,
        *,
        max_body_size: int,
        max_header_size: int = 16_384,
        header_timeout: float = 30.0,
        body_timeout: float = 30.0,
        keep_alive_timeout: float = 75.0,
        ssl: SSLContext | None = None,
        refusal_headers: Callable[[HTTPHeaders], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """`refusal_headers` are added where the server itself refuses a request of these headers.

        It does so when a body is too large, too slow or malformed.
        """
        self.app = app
        self.max_body_size = max_body_size
        self.max_header_size = max_header_size
        self.header_timeout = header_timeout
        self.body_timeout = body_timeout
        self.keep_alive_timeout = keep_alive_timeout
        self.refusal_headers = refusal_headers
        self.draining = False  # every response is the last one on its connection
        self.closing = False  # connections that have no request in hand are closed
        self.client_log = RateLimitedLog(log)
        #: One buffer for all reads: it is read out before the loop comes to the next socket.
        self.read_buffer = memoryview(bytearray(65536))
        self._dated, self._date = 0, ""
        self.protocol = "https" if ssl else "http"
        self._ssl = ssl
        self._servers: list[asyncio.AbstractServer] = []
        self._sockets: list[socket.socket] = []
        self._connections: set[HttpConnection] = set()
        #: What handlers have detached: plain WebSockets, and protocols of a fork.
        self.streams: set[DetachedStream] = set()
        self.descriptors = Descriptors()
        self._all_gone: asyncio.Future[None] | None = None
        self._interval = min(1.0, header_timeout / 4, body_timeout / 4, keep_alive_timeout / 4)
        self._sweeper = Alarm(self._sweep)
        self._sweeping = False

    @functools.cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server runs in, from the first socket on."""
        return asyncio.get_running_loop()

    @functools.cached_property
    def turns(self) -> Turns:
        """Turns of the loop, shared by the large bodies of all clients."""
        return Turns(self.loop)

    @functools.cached_property
    def done(self) -> asyncio.Future[None]:
        """The future of every write that need not be waited for."""
        future = self.loop.create_future()
        future.set_result(None)
        return future

    @property
    def date(self) -> str:
        """The value of a Date field (RFC 9110, 5.6.7), written once a second."""
        now = int(time.time())
        if now != self._dated:
            self._dated, self._date = now, formatdate(now, usegmt=True)
        return self._date

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        if self.loop.get_exception_handler() is None:
            self.loop.set_exception_handler(self._handle_failure)
        for sock in sockets:
            self._sockets.append(sock)
            server = await self.loop.create_server(
                lambda: HttpConnection(self),
                sock=sock,
                backlog=_BACKLOG,
                ssl=self._ssl,
                ssl_handshake_timeout=self.header_timeout if self._ssl else None,
            )
            self._servers.append(server)

    def _handle_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log in one line that a connection could not be accepted, which asyncio tries again."""
        if failed_accept(context):
            self.client_log.add("server", self.descriptors.shortage)
        else:
            loop.default_exception_handler(context)

    def drain(self) -> None:
        """Go on serving, and send clients and proxies elsewhere for their next request."""
        self.draining = True

    async def stop_listening(self) -> None:
        """Accept no more connections."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            self.loop.remove_reader(sock)
        # asyncio's servers may be closed only when what they accepted has got its transport
        await asyncio.sleep(0)
        # the kernel has accepted these for us, and would reset them with the socket
        waiting = [accepted for sock in sockets for accepted in _accept_all(sock)]
        for server in self._servers:
            server.close()
        self._servers.clear()
        for accepted in waiting:
            with contextlib.suppress(OSError):  # it has gone again
                await self.loop.connect_accepted_socket(
                    functools.partial(HttpConnection, self), accepted, ssl=self._ssl
                )
        await asyncio.sleep(0)  # and a transport tells its protocol of itself one turn later

    async def close(self, seconds: float) -> bool:
        """Take no more requests, give those in hand so many seconds, then cut them off.

        Returns whether all of them were answered in time.
        """
        await self.stop_listening()
        self.draining = True
        if self._connections:
            await asyncio.sleep(_LAST_REQUESTS)
        self.closing = True
        for connection in list(self._connections):
            with logged(log, "a connection could not be closed"):
                connection.close_soon()
        for stream in list(self.streams):
            with logged(log, "a detached stream could not be closed"):
                if stream.close_soon is not None:
                    stream.close_soon()
        in_time = await self._wait(seconds)
        for connection in list(self._connections):
            with logged(log, "a connection could not be cut"):
                connection.abort()
        for stream in list(self.streams):
            with logged(log, "a detached stream could not be cut"):
                stream.close()
        await self._wait(1.0)
        self._sweeper.cancel()
        self._sweeping = False
        return in_time

    async def _wait(self, seconds: float) -> bool:
        if not self._connections and not self.streams:
            return True
        self._all_gone = self.loop.create_future()
        done, _ = await asyncio.wait({self._all_gone}, timeout=seconds)
        self._all_gone = None
        return bool(done)

    # What its connections tell it

    def opened(self, connection: HttpConnection) -> None:
        """Count a connection in."""
        self._connections.add(connection)
        if not self._sweeping:
            self._sweep_later()

    def forget(self, connection: HttpConnection) -> None:
        """Count a connection out, that was closed or became a WebSocket."""
        self._connections.discard(connection)
        self._look_if_all_gone()

    def forget_stream(self, stream: DetachedStream) -> None:
        """Remove a detached stream that was closed."""
        self.streams.discard(stream)
        self._look_if_all_gone()

    def _look_if_all_gone(self) -> None:
        waiting, anything = self._all_gone, self._connections or self.streams
        if waiting is not None and not waiting.done() and not anything:
            waiting.set_result(None)

    def _sweep_later(self) -> None:
        self._sweeping = True
        self._sweeper.set(self.loop.time() + self._interval)

    def _sweep(self) -> None:
        """Look at every connection's deadline: cheaper than a timer for each request."""
        self._sweeping = False
        now = self.loop.time()
        for connection in list(self._connections):
            try:
                connection.check(now)
            except Exception:
                log.exception("a connection failed and is cut")
                connection.abort()
        if self._connections:
            self._sweep_later()
