"""The HTTP server: its limits, what its connections share, and its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from ssl import SSLContext
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerConnectionDelegate

from app.common.rate_limited_log import RateLimitedLog
from app.transport.descriptors import Descriptors, failed_accept
from app.transport.flush_queue import FlushQueue, Writer
from app.transport.http.connection import HttpConnection
from app.transport.http.listening import Listener
from app.transport.http.open_connections import OpenConnections
from app.transport.http.states import SERVER, ServerState, follow
from app.transport.loop_turns import Turns

log = logging.getLogger("app.transport.http")

_LAST_REQUESTS_TIMEOUT = 0.05  # seconds in which requests sent before the end still arrive
_ABORT_TIMEOUT = 1.0  # seconds
_READ_SIZE = 65_536  # bytes


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
        unflushed: FlushQueue | None = None,
    ) -> None:
        """Build a server for the running loop.

        `refusal_headers` are added where the server itself refuses a request of these headers: one
        whose body is too large, too slow or malformed. `unflushed` is the queue of the server that
        connections are handed over to.
        """
        self.app = app
        self.max_body_size = max_body_size
        self.max_header_size = max_header_size
        self.header_timeout = header_timeout
        self.body_timeout = body_timeout
        self.keep_alive_timeout = keep_alive_timeout
        self.refusal_headers = refusal_headers
        self.state = ServerState.SERVING
        self.loop = asyncio.get_running_loop()
        #: Turns of the loop, shared by the large bodies of all clients.
        self.turns = Turns(self.loop)
        #: The future of every write that need not be waited for.
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.done.set_result(None)
        self.protocol = "https" if ssl else "http"
        self.client_log = RateLimitedLog(log)
        self.descriptors = Descriptors()
        #: One buffer for all reads: it is read out before the loop comes to the next socket.
        self.read_buffer = memoryview(bytearray(_READ_SIZE))
        interval = min(1.0, header_timeout / 4, body_timeout / 4, keep_alive_timeout / 4)
        self._unflushed = unflushed or FlushQueue()
        self.connections = OpenConnections[HttpConnection](interval)
        self._listener = Listener(lambda: HttpConnection(self), ssl, header_timeout)
        self._dated, self._date = 0, ""

    async def listen(self, sockets: Iterable[socket.socket], *, kept: bool = False) -> None:
        """Accept connections on these sockets; `kept` are open in another process too."""
        if self.loop.get_exception_handler() is None:
            self.loop.set_exception_handler(self._handle_failure)
        await self._listener.listen(sockets, kept=kept)

    def drain(self) -> None:
        """Go on serving, and send clients and proxies elsewhere for their next request."""
        self._move(ServerState.DRAINING)

    async def stop_listening(self) -> None:
        """Accept no more connections."""
        await self._listener.stop()

    async def close(self, seconds: float) -> bool:
        """Take no more requests, give those in hand so many seconds, then cut them off.

        Returns whether all of them were answered in time.
        """
        await self.stop_listening()
        if self.state is ServerState.SERVING:
            self.drain()
        if self.connections:
            await asyncio.sleep(_LAST_REQUESTS_TIMEOUT)
        self._move(ServerState.CLOSING)
        self.connections.close_soon()
        in_time = await self.connections.wait_until_closed(seconds)
        self.connections.abort()
        await self.connections.wait_until_closed(_ABORT_TIMEOUT)
        self.connections.stop()
        return in_time

    @property
    def date(self) -> str:
        """The value of a Date field (RFC 9110, 5.6.7), written once a second."""
        now = int(time.time())
        if now != self._dated:
            self._dated, self._date = now, formatdate(now, usegmt=True)
        return self._date

    def flush_soon(self, writer: Writer) -> None:
        """Flush this writer, together with others, at the end of this turn of the loop.

        If the first of them has waited for a millisecond, flush them now.
        """
        self._unflushed.add(writer)
        self._unflushed.flush_if_late()

    def _move(self, state: ServerState) -> None:
        self.state = follow(SERVER, self.state, state)

    def _handle_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log in one line that a connection could not be accepted, which asyncio tries again."""
        if failed_accept(context):
            self.client_log.add("server", self.descriptors.shortage)
        else:
            loop.default_exception_handler(context)
