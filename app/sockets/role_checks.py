"""The roles that clients of a namespace need: to be in it, and for single events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from app.accounts import refusal
from app.services import Services
from app.sockets.clients import Client, Clients
from app.sockets.connection_refused import ConnectionRefused

Needed = frozenset[str]  # a client needs one of these roles


class MissingRole(Exception):
    """The client's user may not send this event; the message is for the user."""


class RoleChecks:
    """Checks the roles of the clients of one namespace."""

    def __init__(self, services: Services, clients: Clients, needed: Needed) -> None:
        """`needed` are the roles of which a client needs one to be in the namespace, if any."""
        self._services = services
        self._clients = clients
        #: Whether only users with a role may be in the namespace.
        self.needed = needed
        self._attached: dict[str, Callable[[], None]] = {}  # removes a client's socket, by sid

    async def admit(self, client: Client, leave: Callable[[], Awaitable[None]]) -> None:
        """Let a client of a user with a role be in the namespace until the user loses it.

        `leave` disconnects it. Raises ConnectionRefused; call `forget` in any case.
        """
        user_id = client.user_id or ""
        attach = self._services.role_sockets.attach
        self._attached[client.sid] = attach(user_id, self.needed, leave)
        # read after the socket is known, so that no change in between is missed
        if self.needed.isdisjoint(await self._services.roles.of(user_id)):
            raise ConnectionRefused("forbidden")

    def forget(self, sid: str) -> None:
        """Forget a client that has left, or was refused."""
        remove = self._attached.pop(sid, None)
        if remove is not None:
            remove()

    def before(self, needed: Sequence[Needed]) -> Callable[[str], Awaitable[None]]:
        """Return the check of an event that needs one role of each of these."""

        async def check(sid: str) -> None:
            user_id = self._clients[sid].user_id
            if user_id is None:
                raise MissingRole("sign in first")
            roles = await self._services.roles.remembered(user_id)
            for each in needed:
                if each.isdisjoint(roles):
                    raise MissingRole(refusal(each))

        return check

    async def has_any(self, sid: str, roles: Needed) -> bool:
        """Whether the user of a client has one of these roles, as of a second ago at most."""
        user_id = self._clients[sid].user_id
        if user_id is None:
            return False
        return not roles.isdisjoint(await self._services.roles.remembered(user_id))
