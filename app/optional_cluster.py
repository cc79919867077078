"""The other processes of the site: an optional part, since it needs the package redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from app import lifecycle
from app.common.rates import MINUTE, Rate
from app.devices import Presence, Watchers
from app.ops.site_counts import SharedCounts
from app.ops.store_metrics import RedisLink
from app.presence import Users
from app.sessions.end_reason import EndReason
from app.sessions.manager import Sessions
from app.sessions.periodic_expiry import Expiry
from app.sessions.session import Session
from app.settings import Settings
from app.sockets.connections import Connections
from app.stores import Record, SessionStore
from app.transport.socketio.rooms import Rooms


class Cluster(lifecycle.Cluster, Protocol):
    """The parts that processes over one Redis share, and what they tell each other.

    Call `presence`, then `join`, then `start`.
    """

    @property
    def client(self) -> RedisLink: ...
    @property
    def store(self) -> SessionStore: ...
    @property
    def rooms(self) -> Rooms: ...
    @property
    def users(self) -> Users: ...
    @property
    def counts(self) -> SharedCounts: ...

    def make_rate(self, name: str, maximum: int, seconds: float = MINUTE, /) -> Rate:
        """Return the rate limit of this name, which the processes share."""
        ...

    async def repeat(
        self, name: str, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Run a work every `seconds` in one of the processes, until cancelled."""

    def presence(self, connections: Connections, keys: Sequence[str]) -> Presence:
        """Return the presence of all processes; `connections` are those of this one."""
        ...

    def use_keys(self, keys: Sequence[str]) -> None:
        """Tell the other processes which keys this one accepts from now on."""

    async def accepted_keys(self) -> list[tuple[str, str]]:
        """Return the number of each running process, and the `description` of its keys."""
        ...

    def join(
        self,
        sessions: Sessions[Any],
        expiry: Expiry,
        watchers: Watchers,
        account_changed: Callable[[str], Awaitable[None]],
    ) -> None:
        """Listen to the other processes."""

    # -- listeners --

    def session_ended(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        """Tell the other processes that a session has ended in this one."""

    def connections_changed(self, session_id: str) -> None:
        """Tell the other processes that a connection of this session came, went or upgraded."""

    def signed_in(self, session: Session[Any]) -> None:
        """Tell the other processes that a user has signed in."""

    def account_changed(self, account_id: str) -> None:
        """Tell the other processes that an account was changed or deleted in this one."""


def open_cluster(settings: Settings) -> Cluster:
    """Return the cluster over the Redis of --store; it connects at the start. Raises ValueError."""
    try:
        from app.cluster.cluster import Cluster as RedisCluster
    except ImportError as error:
        raise ValueError(
            f"--store redis needs the package {error.name}; run pip install -e '.[redis]'"
        ) from None
    return RedisCluster(settings.store, settings.process_number)
