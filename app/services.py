"""What every handler and namespace can reach: the parts that `make_app` put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.settings import Settings

if TYPE_CHECKING:
    from app.accounts import Accounts
    from app.audit import Audit
    from app.complaints import Complaints
    from app.connections import Connections
    from app.cookie import SessionCookie
    from app.devices import Devices
    from app.expiry import Expiry
    from app.handshake import HandshakeHandler
    from app.known_device import KnownDevice
    from app.limits import Limits
    from app.metrics import Metrics
    from app.session import Session
    from app.sessions import Sessions
    from app.transport import SocketServer

log = logging.getLogger("latchkey.services")


@dataclass
class Services:
    """The parts of one application; a test can build ten beside each other."""

    settings: Settings
    sessions: Sessions[Any]
    cookie: SessionCookie
    accounts: Accounts
    limits: Limits
    socket_server: SocketServer
    connections: Connections
    expiry: Expiry
    complaints: Complaints
    failures: Complaints  # of what we need, such as the store
    metrics: Metrics
    devices: Devices
    known_device: KnownDevice
    audit: Audit
    before_handshake: list[Callable[[HandshakeHandler], Awaitable[None] | None]] = field(
        default_factory=list
    )
    on_login: list[Callable[[Session[Any]], Awaitable[None] | None]] = field(default_factory=list)
    stopping: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def announce_login(self, session: Session[Any]) -> None:
        """Tell all who listen that somebody has signed in."""
        for listener in self.on_login:
            try:
                told = listener(session)
                if told is not None:
                    await told
            except Exception:
                log.exception("a listener to a login failed")

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the request that asked for it, and keep it from being collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
