"""Writing of responses to one HTTP client, and deadlines for the client to take them."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Protocol

from tornado.iostream import StreamClosedError

from app.transport.socket_buffers import unacknowledged

log = logging.getLogger("app.transport.http")

#: Bytes of a response that may wait for the end of the turn; more would only hold memory.
_MAX_HELD_SIZE = 16_384
#: Seconds for the next piece of a response to a client that has shut its side.
HALF_CLOSED_TIMEOUT = 10.0
#: The same for a GET, which may wait for long, and whose client has more likely left.
HALF_CLOSED_GET_TIMEOUT = 1.0


class Server(Protocol):
    """What all connections share; the HTTP server."""

    body_timeout: float  # seconds

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def done(self) -> asyncio.Future[None]: ...
    def flush_soon(self, writer: HttpWriter) -> None: ...


class HttpWriter:
    """Writes to the transport; a future tells the handler when the client reads fast enough."""

    __slots__ = (
        "_half_closed_due",
        "_held",
        "_may_hold",
        "_server",
        "_stuck_due",
        "_taken",
        "_transport",
        "_waiters",
        "_written",
        "congested",
    )

    def __init__(self, server: Server, transport: asyncio.Transport) -> None:
        self._server = server
        self._transport = transport
        self.congested = False  # the socket takes no more for now
        self._held = b""  # a response that is written at the end of this turn of the loop
        # with TLS there is no half of a connection, so no write may follow the client's end
        self._may_hold = transport.can_write_eof()
        self._waiters: list[asyncio.Future[None]] = []
        self._written = 0  # bytes of responses
        self._taken = 0  # how many had reached the client when _stuck_due was set
        self._stuck_due = math.inf  # loop time by which the client has to take some more
        #: loop time at which a client that has shut its side counts as gone; 0: it has not shut it
        self._half_closed_due = 0.0

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Write; the future is done once the client reads fast enough for more."""
        if self._transport.is_closing():
            return self.gone()
        self._written += len(data)
        held, self._held = self._held, b""
        if not self._write_now(held + data):
            return self.gone()
        if self._half_closed_due:
            self.half_close(getting=False)
        if not self.congested:
            return self.done
        waiter: asyncio.Future[None] = self._server.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def write_soon(self, data: bytes) -> asyncio.Future[None]:
        """Write a whole response, with those to other clients, at the end of this turn."""
        fits = self._may_hold and len(data) <= _MAX_HELD_SIZE
        if not fits or self._held or self.congested or self._half_closed_due:
            return self.write(data)
        if self._transport.is_closing():
            return self.gone()
        self._written += len(data)
        self._held = data
        self._server.flush_soon(self)
        return self.done

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._write_now(held)

    def _write_now(self, data: bytes) -> bool:
        """Return whether the transport takes this; if not, cut the connection."""
        try:
            # uvloop's write() raises if connection_lost() is about to come
            self._transport.write(data)
        except Exception:
            self.fail()
            return False
        return True

    def fail(self) -> None:
        """Log the exception that is being handled, and cut the connection."""
        log.exception("a write failed, the connection is cut")
        self._transport.abort()

    @property
    def done(self) -> asyncio.Future[None]:
        """The future of a write that need not be waited for."""
        return self._server.done

    def gone(self) -> asyncio.Future[None]:
        """Return the future of a write to a client that has gone; it need not be awaited."""
        future: asyncio.Future[None] = self._server.loop.create_future()
        _fail(future)
        return future

    def pause(self) -> None:
        """Note that the socket takes no more for now."""
        self.congested = True
        self.watch()

    def resume(self) -> None:
        """Wake the handlers that wait for the client."""
        self.congested = False
        for waiter in self._take_waiters():
            waiter.set_result(None)

    def lose(self) -> None:
        """Raise StreamClosedError in the handlers that wait for the client."""
        for waiter in self._take_waiters():
            _fail(waiter)

    def _take_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._waiters = self._waiters, []
        return [waiter for waiter in waiters if not waiter.done()]

    # Deadlines

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        unwritten = len(self._held) + self._transport.get_write_buffer_size()
        return unwritten + unacknowledged(self._transport)

    def watch(self) -> None:
        """Give the client the time of a body to take some of the response."""
        untaken = self.untaken()
        self._taken = self._written - untaken
        timeout = self._server.body_timeout if untaken else math.inf
        self._stuck_due = self._server.loop.time() + timeout

    def is_stuck(self, now: float) -> bool:
        """Return whether the client has taken nothing in time; if it has, give it time again."""
        if now < self._stuck_due:
            return False
        if self._written - self.untaken() == self._taken:
            return True
        self.watch()
        return False

    @property
    def half_closed(self) -> bool:
        """Whether the client has shut its side."""
        return self._half_closed_due > 0

    def half_close(self, *, getting: bool) -> None:
        """Give a client that has shut its side a while until something is written."""
        seconds = HALF_CLOSED_GET_TIMEOUT if getting else HALF_CLOSED_TIMEOUT
        self._half_closed_due = self._server.loop.time() + seconds

    def has_left(self, now: float) -> bool:
        """Return whether a client that has shut its side counts as gone."""
        return 0 < self._half_closed_due <= now and not self.untaken()


def _fail(future: asyncio.Future[None]) -> None:
    future.set_exception(StreamClosedError())
    future.exception()  # it need not be awaited
