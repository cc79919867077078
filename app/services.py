"""The parts of an application that pages and sockets share."""

from __future__ import annotations

from asyncio import Task
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from app.account_mail import AccountMail
from app.accounts import (
    Accounts,
    AuditTrail,
    Emails,
    OneTimeLinks,
    RecoveryCodes,
    Roles,
    Totp,
    TrustedDevices,
)
from app.common.background import CLEANUP_TIMEOUT, Background
from app.common.listeners import Listeners
from app.common.rate_limited_log import RateLimitedLog
from app.database import Database
from app.devices import Devices, Watchers
from app.impersonation import Impersonation
from app.jobs import Job, Jobs, Work
from app.mail import Mail
from app.operator import Operator
from app.ops.audit import Audit
from app.ops.counters import Counters
from app.ops.loop_lag import LoopLag
from app.ops.metrics import Metrics
from app.ops.readiness import Readiness
from app.ops.site_counts import SiteCounts
from app.ops.stall_log import StallLog
from app.presence import Presence
from app.rate_limits import Limits
from app.recovery import Recovery
from app.role_sockets import RoleSockets
from app.sessions.manager import Sessions
from app.sessions.periodic_expiry import Expiry
from app.sessions.room_name import session_room, user_room
from app.sessions.session import Session
from app.settings import Settings
from app.sign_in import SignIn
from app.transport import SocketServer

T = TypeVar("T")


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

    def attach(self, context: Any, close: Callable[[int, str], None]) -> Callable[[], None]:
        """Add a plain WebSocket with this `SocketContext`; the returned function removes it."""
        ...

    async def close_all(self, *, spread: float = 0.0) -> None:
        """Close every connection, in batches over `spread` seconds."""


@dataclass(kw_only=True)
class Services:
    """The parts of one application; handlers and namespaces have it as `services`."""

    settings: Settings
    sessions: Sessions[Any]
    database: Database
    accounts: Accounts
    roles: Roles
    one_time_links: OneTimeLinks
    recovery_codes: RecoveryCodes
    recovery: Recovery  # resets passwords
    emails: Emails  # confirmed addresses
    mail: Mail
    account_mail: AccountMail  # what users are told by mail
    totp: Totp  # second factors
    trusted_devices: TrustedDevices  # that are asked for no code
    role_sockets: RoleSockets  # those that need a role
    limits: Limits
    socket_server: SocketServer
    connections: Connections
    presence: Presence
    expiry: Expiry
    devices: Devices
    device_watchers: Watchers
    counters: Counters
    site_counts: SiteCounts  # of all processes
    metrics: Metrics
    loop_lag: LoopLag
    stall_log: StallLog
    readiness: Readiness
    audit: Audit
    audit_trail: AuditTrail  # the events of accounts, in the database
    operator: Operator  # what operators do with accounts and sessions
    jobs: Jobs
    client_log: RateLimitedLog  # errors of clients
    sign_in: SignIn  # gives a browser a session for an account
    impersonation: Impersonation  # lets administrators sign in as others
    outage_log: RateLimitedLog  # requests and events that failed because a store was down
    on_login: Listeners[[Session[Any]]]  # told of each sign-in
    on_account_changed: Listeners[[str]]  # told the id, whichever process has changed it
    stopping: bool = False  # whether the process drains or stops
    _background: Background = field(default_factory=Background)

    async def emit_to_user(
        self, user_id: str, event: str, data: Any = None, namespace: str = "/"
    ) -> None:
        """Send an event to all sockets of a user in a namespace, at all processes.

        `user_id` is the account id; a tuple as `data` is several arguments. A user who signs in
        later is not reached. Raises ValueError for an empty id, and for a namespace that there is
        not.
        """
        await self._emit("user_id", user_id, user_room(user_id), event, data, namespace)

    async def emit_to_session(
        self, session_id: str, event: str, data: Any = None, namespace: str = "/"
    ) -> None:
        """Send an event to all sockets of a session in a namespace, at all processes.

        A tuple as `data` is several arguments. Raises ValueError for an empty id, and for a
        namespace that there is not.
        """
        room = session_room(session_id or "")
        await self._emit("session_id", session_id, room, event, data, namespace)

    async def _emit(
        self, what: str, id: str, room: str, event: str, data: Any, namespace: str
    ) -> None:
        if not id:
            raise ValueError(f"{what} is empty, as that of a visitor is; emit to a room instead")
        if not self.socket_server.made.exists(namespace):
            raise ValueError(f"no module of handlers/ has the namespace {namespace}")
        await self.socket_server.emit(event, data, to=room, namespace=namespace)

    def background(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        """Run a coroutine beside the request that started it; return its task.

        The task is kept until it ends, and an exception is logged. When the process stops, it has
        half a second to end. Then it is cancelled and awaited.
        """
        return self._background.start(work)

    def every(
        self, seconds: float, work: Work, once_per_site: bool = False, *, name: str = ""
    ) -> Job:
        """Run a function, `async` or not, every `seconds`; the first time after as many.

        A run that takes longer than `seconds` delays the next one, so that a job never runs twice
        at the same time. An exception is logged, and the job goes on. It ends with the process, or
        with `cancel()` of the returned job.

        With `once_per_site`, one of the processes over one Redis runs the job at a time. Another
        one takes over within about two intervals if that process dies. The processes know the job
        by its `name`, which is by default that of the module and the function.

        Raises ValueError for an interval of 0 or less, and for two jobs of one name in the site.
        """
        return self.jobs.every(seconds, work, once_per_site=once_per_site, name=name)

    async def stop(self, *, seconds: float) -> None:
        """Let the coroutines of `background` run for `seconds`, then cancel them."""
        await self._background.stop(seconds=seconds, cleanup=CLEANUP_TIMEOUT)
