"""What every handler and namespace can reach: the parts that `make_app` put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.settings import Settings

if TYPE_CHECKING:
    from app.accounts import Accounts
    from app.complaints import Complaints
    from app.connections import Connections
    from app.cookie import SessionCookie
    from app.expiry import Expiry
    from app.handshake import HandshakeHandler
    from app.limits import Limits
    from app.presence import SharedPresence
    from app.sessions import Sessions
    from app.transport import SocketServer


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
    before_handshake: list[Callable[[HandshakeHandler], Awaitable[None] | None]] = field(
        default_factory=list
    )
    presence: Connections | SharedPresence = field(init=False)
    stopping: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.presence = self.connections

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside the request that asked for it, and keep it from being collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
