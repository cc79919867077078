"""The requests of one connection: one at a time, in the order in which they came.

Nothing here does I/O: the connection adds what it has read, and is told what to do.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from typing import Protocol

from tornado.httputil import HTTPInputError, HTTPServerConnectionDelegate

from app.transport.http.client_address import HttpContext
from app.transport.http.deadline import Deadline
from app.transport.http.exchange import Connection as ExchangeConnection
from app.transport.http.exchange import Exchange
from app.transport.http.head import Refused, parse_head
from app.transport.http.input import HttpInput
from app.transport.http.states import (
    CONNECTION,
    ConnectionState,
    RequestState,
    ResponseState,
    ServerState,
    follow,
)
from app.transport.loop_turns import MAX_SMALL_SIZE, Turns

log = logging.getLogger("app.transport.http")

_IDLE, _HEAD, _REQUEST, _CLOSING, _DETACHED, _CLOSED = ConnectionState
_WRITTEN, _SWITCHED = ResponseState.COMPLETE, ResponseState.SWITCHED
_SERVING = ServerState.SERVING
_RECEIVED, _REFUSABLE = RequestState.COMPLETE, RequestState.HEAD


class Server(Protocol):
    """What requests ask of the HTTP server; sizes are in bytes, times in seconds."""

    app: HTTPServerConnectionDelegate
    state: ServerState
    max_body_size: int
    max_header_size: int
    header_timeout: float
    body_timeout: float
    keep_alive_timeout: float

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def turns(self) -> Turns: ...


class Connection(ExchangeConnection, Protocol):
    """What requests ask of their connection."""

    context: HttpContext
    deadline: Deadline

    def refuse(self, status: int, why: str) -> None: ...
    def close(self, *, unread: bool) -> None: ...
    def worked(self) -> None: ...


class Requests:
    """Takes requests out of what the client has sent, and hands each to the application.

    What arrives while a request is in hand waits unparsed.
    """

    __slots__ = ("_connection", "_server", "_working", "exchange", "input", "state")

    def __init__(self, server: Server, connection: Connection) -> None:
        self._server = server
        self._connection: Connection = connection
        self._working = False
        self.state: ConnectionState = _IDLE
        self.input = HttpInput()
        #: The request in hand, in the state REQUEST.
        self.exchange: Exchange | None = None

    @property
    def open(self) -> bool:
        """Whether more requests are read, or answered."""
        return self.state < _CLOSING

    @property
    def awaited_by_half_closed(self) -> bool:
        """Whether a client that has shut its side may still wait for a response."""
        exchange = self.exchange
        return bool(self.input.data) if exchange is None else exchange.answers_half_closed

    @property
    def incomplete(self) -> bool:
        """Whether the rest of a request has to arrive before anything can go on."""
        exchange = self.exchange
        if exchange is None:
            return self.state is _HEAD or not self.input.data
        return not exchange.body.done and not exchange.busy

    def blocked(self) -> bool:
        """Return whether what has arrived has to wait, so that reading should pause."""
        exchange = self.exchange
        if exchange is None:  # the next request waits for its turn
            return self.state is _IDLE and bool(self.input.data)
        return (
            exchange.busy or exchange.followed or (exchange.turn is False and bool(self.input.data))
        )

    def work(self) -> None:
        """Go on until bytes, the application or the client have to be waited for."""
        if self._working or self.state >= _CLOSING:
            return
        connection = self._connection
        self._working = True
        try:
            while self.state < _CLOSING and self._step():
                pass
        except Refused as refused:
            connection.refuse(refused.status, str(refused))
        except HTTPInputError:
            connection.refuse(400, "Host, query or body refused by Tornado")
        except (Exception, asyncio.CancelledError):
            log.exception("a request could not be handed to its handler")
            connection.refuse(500, "internal server error")
        finally:
            self._working = False
        connection.worked()

    def move(self, state: ConnectionState) -> Exchange | None:
        """Go to another state, and return the request that was in hand."""
        self.state = follow(CONNECTION, self.state, state)
        if state is _DETACHED or state is _CLOSED:
            # no circle of references, which would wait for the garbage collector
            self._connection = None  # type: ignore[assignment]
        exchange, self.exchange = self.exchange, None
        return exchange

    def _step(self) -> bool:
        """Take the request one step further; return False if something has to be waited for."""
        exchange = self.exchange
        if exchange is None:
            return self._begin()
        if exchange.waiting is not None:
            if exchange.busy:
                return False
            exchange.go_on()
        response = exchange.response.state
        if response is _WRITTEN:
            self._end(exchange)
            return False
        if exchange.request_state is _RECEIVED or response is _SWITCHED:
            return False
        if exchange.request_state is _REFUSABLE:
            self._accept(exchange)
        if not exchange.body.done:
            return self._take_body(exchange)
        self._connection.deadline.clear()
        if not self._has_turn(exchange, exchange.body_size):
            return False
        exchange.receive()
        return True

    def _begin(self) -> bool:
        """Start with the next request if its head is here."""
        server, connection = self._server, self._connection
        if not self.input.data:
            return False
        connection.writer.flush()  # the client may not take the response to its last request
        if connection.writer.congested:
            return False
        head = self.input.take_head(server.max_header_size)
        if head is None:
            if self.state is _IDLE:
                self.move(_HEAD)
                connection.deadline.set(server.header_timeout)
            return False
        connection.deadline.clear()
        exchange = Exchange(connection, parse_head(head), server.max_body_size, server.body_timeout)
        self.move(_REQUEST)
        self.exchange = exchange
        exchange.begin(server.app)
        return True

    def _accept(self, exchange: Exchange) -> None:
        """Let the body come, now that the delegate has seen the head."""
        exchange.accept()
        if exchange.body.done:
            return
        if exchange.head.expects_continue and not exchange.response.started:
            self._connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._connection.deadline.pause()
        self._connection.deadline.set(exchange.body_timeout)

    def _take_body(self, exchange: Exchange) -> bool:
        """Deliver the part of the body that has arrived; return whether to go on."""
        size = len(self.input.data)
        if not size:
            return False
        if exchange.head.length is None and not self._has_turn(exchange, size):
            return False  # chunks can be tiny: 64 kB of them take 13 ms
        exchange.turn = None
        self.input.data = exchange.take(bytes(self.input.data))
        return exchange.body.done or len(self.input.data) < size

    def _has_turn(self, exchange: Exchange, size: int) -> bool:
        """Return whether work on so many bytes may begin; if not, it begins in a later turn."""
        if size <= MAX_SMALL_SIZE:
            return True
        if exchange.turn is None:
            begin = functools.partial(self._begin_turn, exchange)
            exchange.turn = self._server.turns.enter(size, begin)
        return exchange.turn

    def _begin_turn(self, exchange: Exchange) -> None:
        """Go on with a large body, now that its turn has come."""
        exchange.turn = True
        if self.exchange is exchange:
            self.work()

    def _end(self, exchange: Exchange) -> None:
        """Finish with a request whose response is written; the next one waits for its turn."""
        if exchange.request_state is _RECEIVED:
            exchange.release()
        else:
            exchange.abandon()
        if not exchange.response.keep_alive or self._server.state is not _SERVING:
            self._connection.close(unread=not exchange.body.done)
            return
        self.move(_IDLE)
        self._connection.deadline.set(self._server.keep_alive_timeout)
        if self.input.data:
            # after everybody else's, and not in the context of this one
            self._server.loop.call_soon(self.work, context=contextvars.Context())
