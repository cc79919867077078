"""The Engine.IO server: all connections of this process, and what they share."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol

import msgspec

from app.common.cached_value import cached_value
from app.common.log_and_continue import logged
from app.common.rate_limited_log import RateLimitedLog
from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import Connection
from app.transport.engineio.ids import Ids
from app.transport.engineio.last_polls import LastPolls
from app.transport.engineio.message import Message
from app.transport.engineio.receiver_protocol import Receiver
from app.transport.engineio.transport import Transport
from app.transport.flush_queue import FlushQueue
from app.transport.loop_turns import Turns
from app.transport.settings import TransportSettings
from app.transport.timers import Wheel

log = logging.getLogger("app.transport")


class Application(Protocol):
    """The layer above Engine.IO."""

    def opened(self, connection: Connection) -> Receiver:
        """Return what receives the messages of a new connection."""
        ...


class Socket(Protocol):
    """A WebSocket."""

    def abort(self) -> None: ...


class Reader(Protocol):
    """The incoming side of a WebSocket."""

    due: bool

    def read(self) -> None: ...
    def fail(self) -> None: ...


class NewTransport(Transport, Protocol):
    """A transport that gets its connection."""

    connection: Connection


class EngineServer:
    """Opens connections for an application, and keeps them until they close."""

    def __init__(self, settings: TransportSettings, application: Application) -> None:
        self.settings = settings
        self._application = application
        self.longest = settings.max_message_size  # bytes
        self.limited = settings.events_per_second > 0
        #: A token for one event returns after `refill` seconds. A full bucket holds the tokens of
        #: two seconds; one that misses more than `most_owed` seconds has no token.
        self.refill = 1 / settings.events_per_second if self.limited else 0.0
        self.most_owed = 2.0 - self.refill
        #: bytes beyond which no more may wait for one client
        self.max_backlog = max(settings.max_send_backlog, settings.send_buffer)
        #: The open connections by their sid.
        self.connections: dict[str, Connection] = {}
        self.wheel = Wheel(min(settings.ping_interval, settings.ping_timeout, 12.5) / 50)
        self.closed_by = Counter(dict.fromkeys(Reason.ALL, 0))
        self.throttled = 0  # times that a client was faster than events_per_second
        self.last_polls = LastPolls(self.wheel)
        #: WebSockets that wait for the client to go, after their close frame, or to end its upgrade
        #: before that.
        self.ending: set[Socket] = set()
        self._due: list[Reader] = []
        #: What clients are sent at the end of this turn of the loop.
        self.unflushed = FlushQueue()
        self._ids = Ids()
        self._client_log = RateLimitedLog(log)

    @cached_value
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server runs in, from the first connection on."""
        return asyncio.get_running_loop()

    @cached_value
    def turns(self) -> Turns:
        """Turns of the loop, shared by the large messages of all clients."""
        return Turns(self.loop)

    # Connections come and go

    def open(self, transport: NewTransport, environ: dict[str, Any], context: Any) -> Connection:
        """Register a new connection; its sid begins with this process's number, for the proxy.

        See `Connection` for `environ` and `context`.
        """
        sid = f"{self.settings.process_number}-{self._ids.new()}"
        connection = Connection(self, sid, transport, environ, context)  # pyright: ignore[reportArgumentType]
        self.connections[sid] = transport.connection = connection
        connection.receiver = self._application.opened(connection)
        return connection

    def handshake(self, connection: Connection, upgrades: list[str]) -> bytes:
        """Return the OPEN packet, its keys in the order of Node's server."""
        return b"0" + msgspec.json.encode(
            {
                "sid": connection.sid,
                "upgrades": upgrades,
                "pingInterval": round(self.settings.ping_interval * 1000),
                "pingTimeout": round(self.settings.ping_timeout * 1000),
                "maxPayload": self.settings.max_message_size,
            }
        )

    def find(self, sid: str) -> Connection | None:
        """Return a connection that is open, or closed with payloads that no poll has fetched."""
        return self.connections.get(sid) or self.last_polls.find(sid)

    def forget(self, connection: Connection) -> None:
        """Take a connection that closes out of the index, and count why it closes."""
        self.connections.pop(connection.sid, None)
        self.closed_by[connection.reason] += 1

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one connection, or all; never waits for the client."""
        one = [self.connections[sid]] if sid in self.connections else []
        self._close(one if sid else list(self.connections.values()), Reason.SERVER)

    async def shutdown(self) -> None:
        """Close every connection and stop the shared timer."""
        self._close(list(self.connections.values()), Reason.SHUTDOWN)
        self.last_polls.clear()
        self.wheel.close()

    def _close(self, connections: list[Connection], reason: str) -> None:
        for connection in connections:
            with logged(log, "a connection could not be closed sid=%s", connection.sid):
                connection.close(reason)

    def cut_ending(self) -> None:
        """Cut the WebSockets whose clients do not close them."""
        for websocket in list(self.ending):
            with logged(log, "a closing WebSocket could not be cut"):
                websocket.abort()

    # Sending

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send one message."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.send(
                data.encode() if isinstance(data, str) else Message(None, [bytes(data)])
            )

    def read_soon(self, reader: Reader) -> None:
        """Let `reader` act on what it was fed, after the reads of this turn of the loop.

        The answers are written together once all readers have acted; sooner if, after one of them,
        the first answer has waited for a millisecond.
        """
        if not self._due:
            self.loop.call_soon(self._read)
        self._due.append(reader)

    def _read(self) -> None:
        due, self._due = self._due, []
        self.unflushed.held = True
        try:
            for reader in due:
                self._read_from(reader)
                self.unflushed.flush_if_late()
        finally:
            self.unflushed.held = False
            self.unflushed.flush()

    def _read_from(self, reader: Reader) -> None:
        try:
            if reader.due:
                reader.read()
        except Exception:
            reader.fail()

    # Faults of clients

    def complain(self, connection: Connection | None, why: str) -> None:
        """Log a fault of a client, rate-limited; `why` holds nothing that the client has sent."""
        self._client_log.add(connection.sid if connection else "handshake", why)
