"""The users of the whole site who have sockets: an interface, and that of a single process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec


class UserSockets(msgspec.Struct, frozen=True):
    """The sockets of one user in one namespace, at all processes."""

    namespace: str
    sockets: int  # 0 while the user is expected back, see `here.GRACE`
    since: float  # seconds since 1970 when the user came


class Change(NamedTuple):
    """What one process tells of a user in a namespace."""

    namespace: str
    user_id: str
    sockets: int  # at this process
    since: float
    is_new: bool  # not told before
    left: bool  # not expected back


#: A namespace and a user id.
Key = tuple[str, str]
#: Such a key, and whether the user came (True) or left.
Told = tuple[Key, bool]


class Forgotten(Exception):
    """What this process has written is gone; it has to call `beat` first."""


class Users(Protocol):
    """The users at all processes. Its methods may raise StoreError."""

    async def update(self, changes: Sequence[Change]) -> list[bool]:
        """Note changes; return for each whether its user came as the first, or left as the last.

        Raises Forgotten.
        """
        ...

    async def users(self, namespace: str) -> Collection[str]:
        """Return the users in a namespace, at least those of other processes."""
        ...

    async def everyone(self) -> Collection[str]:
        """Return the users in any namespace, at least those of other processes."""
        ...

    async def of(self, user_id: str) -> Sequence[UserSockets]:
        """Return the sockets of a user at each other process."""
        ...

    async def beat(self, here: Sequence[Change]) -> Sequence[Told]:
        """Say that this process runs, with all its users; return who left with a dead process.

        If other processes have taken this one for dead, its users have come back.
        """
        ...

    async def stop(self, here: Sequence[Key]) -> Sequence[Key]:
        """Say that this process stops; return those of its users whom no process will tell of."""
        ...


class Alone:
    """The `Users` of a process that serves alone: there are no others."""

    async def update(self, changes: Sequence[Change]) -> list[bool]:
        return [change.left != change.is_new for change in changes]

    async def users(self, namespace: str) -> Collection[str]:
        return ()

    async def everyone(self) -> Collection[str]:
        return ()

    async def of(self, user_id: str) -> Sequence[UserSockets]:
        return ()

    async def beat(self, here: Sequence[Change]) -> Sequence[Told]:
        return ()

    async def stop(self, here: Sequence[Key]) -> Sequence[Key]:
        return here
