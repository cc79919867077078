"""What every handler and namespace can reach: the parts that `make_app` put together."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.common.background import Background
from app.common.listeners import Listeners
from app.settings import Settings

if TYPE_CHECKING:
    from app.accounts import Accounts
    from app.common.rate_limited_log import Complaints
    from app.devices.devices import Devices
    from app.limits import Limits
    from app.ops.audit import Audit
    from app.ops.metrics import Metrics
    from app.ops.readiness import Readiness
    from app.sessions.expiry import Expiry
    from app.sessions.manager import Sessions
    from app.sessions.session import Session
    from app.sockets.connections import Connections
    from app.sockets.handshake import HandshakeHandler
    from app.transport import SocketServer
    from app.web.cookies import SessionCookie
    from app.web.known_device import KnownDevice


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
    outages: Complaints
    metrics: Metrics
    readiness: Readiness
    data_folder: int  # keeps restores away while it is open
    devices: Devices
    known_device: KnownDevice
    audit: Audit
    before_handshake: list[Callable[[HandshakeHandler], Awaitable[None] | None]] = field(
        default_factory=list
    )
    on_login: Listeners[[Session[Any]]] = field(default_factory=lambda: Listeners("a login"))
    stopping: bool = False
    _background: Background = field(default_factory=Background)

    def let_go_of_folder(self) -> None:
        """Let others restore the data folder, once its files are closed."""
        # once only: the number may be another file's by the second time
        folder, self.data_folder = self.data_folder, -1
        if folder != -1:
            os.close(folder)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the request that asked for it."""
        self._background.start(work)

    async def stop(self, *, seconds: float) -> None:
        """Give what runs beside requests some `seconds` to end, then cancel it."""
        await self._background.stop(seconds=seconds)
