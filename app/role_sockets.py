"""The sockets that need a role, and what happens to them when their user loses it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection

from app.accounts import Roles
from app.common.background import Background
from app.common.log_and_continue import logged
from app.database import DatabaseUnavailable

log = logging.getLogger("latchkey.roles")

_CHECK_INTERVAL = 5.0  # seconds


class RoleSockets:
    """The sockets of this process that need a role, by user.

    They leave when a change of their user is told. A message of another process may be lost, and
    the database may be away: all are checked every few seconds, too. A socket stays open while
    the database does not answer.
    """

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._by_user: dict[str, set[_Socket]] = {}
        self._background = Background()

    def attach(
        self, user_id: str, needed: frozenset[str], leave: Callable[[], Awaitable[None]]
    ) -> Callable[[], None]:
        """Add a socket of a user who needs one of these roles; the returned function removes it.

        `leave` is awaited when the user has none of them any more. Read the roles after this, so
        that no change is missed.
        """
        socket = _Socket(needed, leave)
        self._by_user.setdefault(user_id, set()).add(socket)

        def remove() -> None:
            sockets = self._by_user.get(user_id, set())
            sockets.discard(socket)
            if not sockets:
                self._by_user.pop(user_id, None)

        return remove

    async def account_changed(self, account_id: str) -> None:
        """Let sockets of this user leave; `services.on_account_changed` calls it."""
        if account_id in self._by_user:
            await self._check([account_id])

    def start(self) -> None:
        """Check all sockets periodically, on the running loop."""
        self._background.start(self._check_all())

    async def stop(self) -> None:
        """Check no more."""
        await self._background.stop()

    async def _check_all(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            with logged(log, "the roles of users with sockets could not be checked"):
                await self._check([*self._by_user])

    async def _check(self, user_ids: Collection[str]) -> None:
        with contextlib.suppress(DatabaseUnavailable):  # which is logged where it is raised
            for user_id, roles in (await self._roles.of_many(user_ids)).items():
                for socket in [*self._by_user.get(user_id, ())]:
                    if roles.isdisjoint(socket.needed):
                        with logged(log, "a socket without its role could not be disconnected"):
                            await socket.leave()


class _Socket:
    """A socket, equal only to itself."""

    __slots__ = ("leave", "needed")

    def __init__(self, needed: frozenset[str], leave: Callable[[], Awaitable[None]]) -> None:
        self.needed = needed
        self.leave = leave
