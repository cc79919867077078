"""The Engine.IO server: all connections of this process, and what they share."""

from __future__ import annotations

import asyncio
import base64
import functools
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import engineio
import msgspec

from app.common.guard import logged
from app.common.rate_limited_log import RateLimitedLog
from app.transport.engineio import connection as connections
from app.transport.engineio.connection import Connection
from app.transport.engineio.cut_off import cut_off
from app.transport.engineio.last_polls import LastPolls
from app.transport.engineio.reason import Reason
from app.transport.engineio.transport import Transport
from app.transport.settings import TransportSettings
from app.transport.socketio.packets import Message
from app.transport.tasks import Tasks
from app.transport.timers import Wheel
from app.transport.turns import Turns

log = logging.getLogger("app.transport")

#: Seconds in which clients have to close their WebSockets when the process stops.
CLIENT_CLOSE_TIMEOUT = 0.5
_IDS_AT_ONCE = 100


class Socket(Protocol):
    """A WebSocket."""

    def flush(self) -> None: ...
    def fail(self) -> None: ...
    def abort(self) -> None: ...


class NewTransport(Transport, Protocol):
    """A transport that gets its connection."""

    connection: Connection


class Server(connections.Server, Protocol):
    """The Socket.IO server."""

    upgraded: Callable[[str], None]

    def connection_opened(self, connection: Connection, environ: dict[str, Any]) -> None: ...
    def receive_event(self, connection: Connection, id: int | None, data: list[Any]) -> None: ...
    def forget_environ(self, eio_sid: str) -> None: ...


class Engine(engineio.AsyncServer):
    """python-engineio's server with its sockets, queues and tasks replaced by `Connection`.

    `sockets` stays the name of the index by sid, but holds `Connection`s.
    """

    server: Server

    def __init__(self, settings: TransportSettings, **options: Any) -> None:
        super().__init__(
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            max_http_buffer_size=settings.max_message_size,
            monitor_clients=False,
            **options,
        )
        self.settings = settings
        self.longest = settings.max_message_size  # bytes
        self.limited = settings.events_per_second > 0
        #: seconds in which one token for an event comes back, and how far from full a bucket may
        #: be that still has one; a full one holds the tokens of two seconds
        self.refill = 1 / settings.events_per_second if self.limited else 0.0
        self.most_owed = 2.0 - self.refill
        #: bytes beyond which no more may wait for one client
        self.max_backlog = max(settings.max_send_backlog, settings.send_buffer)
        self.sockets: dict[str, Connection] = {}
        self.wheel = Wheel(min(settings.ping_interval, settings.ping_timeout, 12.5) / 50)
        self.closed_by: Counter[str] = Counter()
        self.throttled = 0  # times that a client was faster than events_per_second
        #: One buffer for all reads: it is read out before the loop comes to the next socket.
        self.read_buffer = memoryview(bytearray(65536))
        self._ids: list[str] = []  # random, and not given out yet
        self.last_polls = LastPolls(self.wheel, lambda sid: self.server.forget_environ(sid))
        #: WebSockets that have sent their close frame and wait for the client to go.
        self.ending: set[Socket] = set()
        #: Closed connections that have clients whose disconnect handlers still run.
        self.leaving: dict[str, Connection] = {}
        self._unflushed: list[Socket] = []
        self.tasks = Tasks()  # where event handlers are started
        #: What is awaited where there is nothing to wait for, from the first connection on.
        self.done: asyncio.Future[None] | None = None
        self._client_log = RateLimitedLog(log)

    @functools.cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server runs in, from the first connection on."""
        return asyncio.get_running_loop()

    @functools.cached_property
    def turns(self) -> Turns:
        """Turns of the loop, shared by the large messages of all clients."""
        return Turns(self.loop)

    # Connections come and go

    def generate_id(self) -> str:
        """Return 120 random bits, as Socket.IO ids and as the random part of Engine.IO ids."""
        if not self._ids:  # asking the system for many at once takes as long as for one
            random = base64.urlsafe_b64encode(secrets.token_bytes(15 * _IDS_AT_ONCE)).decode()
            self._ids = [random[at : at + 20] for at in range(0, len(random), 20)]
        return self._ids.pop()

    def open(self, transport: NewTransport, environ: dict[str, Any]) -> Connection:
        """Register a new connection; its sid begins with this process's number, for the proxy."""
        if self.done is None:
            self.done = self.loop.create_future()
            self.done.set_result(None)
        sid = f"{self.settings.process_number}-{self.generate_id()}"
        connection = self.sockets[sid] = transport.connection = Connection(self, sid, transport)
        self.server.connection_opened(connection, environ)
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

    def forget(self, connection: Connection) -> None:
        """Take a connection that closes out of the index; its handlers can still find it."""
        self.sockets.pop(connection.sid, None)
        if connection.registered:
            self.leaving[connection.sid] = connection

    def find(self, sid: str) -> Connection:
        """Return a connection that is open, or whose handlers still run; raises KeyError."""
        return self.sockets.get(sid) or self.leaving[sid]

    async def finish(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Wait until the handlers of closed connections have ended, and their clients are gone.

        Handlers have so many seconds. Clients have CLIENT_CLOSE_TIMEOUT, and so have handlers once
        `hurry` is set.
        """
        began = self.loop.time()
        # an event that wakes this would have to be kept by each connection
        while self.tasks.waiting() or self.ending:
            passed = self.loop.time() - began
            if passed >= seconds:
                break
            if passed >= CLIENT_CLOSE_TIMEOUT:
                self._cut_clients()
                if hurry is not None and hurry.is_set():
                    break
            await asyncio.sleep(0.01)
        self._cut_clients()
        await asyncio.sleep(0)

    def _cut_clients(self) -> None:
        """Cut the WebSockets whose clients do not close them."""
        for websocket in list(self.ending):
            with logged(log, "a closing WebSocket could not be cut"):
                websocket.abort()

    async def cut_off(self, waited: float) -> None:
        """Cancel the handlers that still run after so many seconds, and log which."""
        await cut_off(self.tasks, waited)

    async def shutdown(self) -> None:
        """Close every connection and stop the shared timer."""
        for connection in list(self.sockets.values()):
            with logged(log, "a connection could not be closed sid=%s", connection.sid):
                connection.close(Reason.SHUTDOWN)
        self.last_polls.clear()
        self.wheel.close()

    # Sending

    def flush_soon(self, websocket: Socket) -> None:
        """Write what `websocket` collects once, at the end of this turn of the loop."""
        if not self._unflushed:
            self.loop.call_soon(self._flush)
        self._unflushed.append(websocket)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for websocket in unflushed:
            try:
                websocket.flush()
            except Exception:
                websocket.fail()

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send one Engine.IO message, for what python-socketio still sends by itself."""
        connection = self.sockets.get(sid)
        if connection is None:
            return
        if isinstance(data, str):
            connection.transport.send(b"4" + data.encode())
        else:
            message = Message(b"", [bytes(data)])
            connection.transport.send(message)

    async def send_packet(self, sid: str, pkt: Any) -> None:
        await self.send(sid, pkt.data)

    # python-engineio's API that concerns connections

    def transport(self, sid: str) -> str:
        """Return "polling" or "websocket"; KeyError for an unknown sid."""
        return self.find(sid).transport.name

    async def get_session(self, sid: str) -> dict[str, Any]:
        connection = self.find(sid)
        if connection.session is None:
            connection.session = {}
        return connection.session

    async def save_session(self, sid: str, session: dict[str, Any]) -> None:
        self.find(sid).session = session

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one connection, or all; never waits for the client."""
        for connection in [self.sockets.get(sid)] if sid else list(self.sockets.values()):
            if connection is not None:
                with logged(log, "a connection could not be closed sid=%s", connection.sid):
                    connection.close(Reason.SERVER)

    async def handle_request(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("requests come in through app.transport.SocketHandler")

    # Faults of clients

    def complain(self, connection: Connection | None, why: str) -> None:
        """Log a fault of a client, rate-limited; `why` holds nothing that the client has sent."""
        self._client_log.add(connection.sid if connection else "handshake", why)
