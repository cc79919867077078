"""The parts of an application that pages and sockets share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.accounts import Accounts
from app.common.background import Background
from app.common.listeners import Listeners
from app.common.rate_limited_log import RateLimitedLog
from app.devices import Devices, Watchers
from app.limits import Limits
from app.ops.audit import Audit
from app.ops.counters import Counters
from app.ops.loop_lag import LoopLag
from app.ops.metrics import Metrics
from app.ops.readiness import Readiness
from app.sessions.expiry import Expiry
from app.sessions.manager import Sessions
from app.sessions.session import Session
from app.settings import Settings
from app.transport import SocketServer


class Connections(Protocol):
    """The open connections of this process, by session."""

    def __len__(self) -> int:
        """Return the number of connections."""
        ...

    def count(self, session_id: str) -> int:
        """Return the number of connections of a session."""
        ...

    def session_ids(self) -> Collection[str]:
        """Return the ids of the sessions that have connections."""
        ...

    def reserve(self, session_id: str, maximum: int) -> bool:
        """Reserve a place for a handshake; False if the session has `maximum` (0: no limit)."""
        ...

    def release(self, session_id: str) -> None:
        """Give the place of a handshake back: it is a connection by now, or has failed."""

    def attach(self, session_id: str, close: Callable[[int, str], None]) -> Callable[[], None]:
        """Add a plain WebSocket of a session; the returned function removes it."""
        ...

    async def close_all(self, *, spread: float = 0.0) -> None:
        """Close every connection, in batches over `spread` seconds."""


@dataclass(kw_only=True)
class Services:
    """The parts of one application; handlers and namespaces have it as `services`."""

    settings: Settings
    sessions: Sessions[Any]
    accounts: Accounts
    limits: Limits
    socket_server: SocketServer
    connections: Connections
    expiry: Expiry
    devices: Devices
    device_watchers: Watchers
    counters: Counters
    metrics: Metrics
    loop_lag: LoopLag
    readiness: Readiness
    audit: Audit
    client_log: RateLimitedLog  # errors of clients
    outage_log: RateLimitedLog  # requests and events that failed because a store was down
    on_login: Listeners[[Session[Any]]] = field(default_factory=lambda: Listeners("a login"))
    stopping: bool = False  # whether the process drains or stops
    _background: Background = field(default_factory=Background)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the request that started it."""
        self._background.start(work)

    async def stop(self, *, seconds: float) -> None:
        """Let the coroutines of `background` run for `seconds`, then cancel them."""
        await self._background.stop(seconds=seconds)
