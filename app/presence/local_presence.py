"""The users with sockets at this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from app.presence.users import Change, Key, UserSockets

#: Seconds for which a user without sockets is still present, such as during a reload of the page.
GRACE = 2.0


class UsersHere:
    """Counts the sockets of each user in each namespace, and waits for users who may come back."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        """`changed` is called for each change that others may know."""
        self._changed = changed
        self._by_namespace: dict[str, dict[str, _Sockets]] = {}  # by namespace and user id

    def __len__(self) -> int:
        return sum(map(len, self._by_namespace.values()))

    def users(self, namespace: str) -> Collection[str]:
        """Return the users in a namespace."""
        return self._by_namespace.get(namespace, {}).keys()

    def everyone(self) -> set[str]:
        """Return the users in any namespace."""
        return {user_id for users in self._by_namespace.values() for user_id in users}

    def of(self, user_id: str) -> list[UserSockets]:
        """Return the sockets of a user in each namespace."""
        return [
            UserSockets(namespace, users[user_id].count, users[user_id].since)
            for namespace, users in self._by_namespace.items()
            if user_id in users
        ]

    def enter(self, namespace: str, user_id: str) -> None:
        """Count a socket whose CONNECT is not answered yet."""
        users = self._by_namespace.setdefault(namespace, {})
        sockets = users.get(user_id)
        if sockets is None:
            sockets = users[user_id] = _Sockets()
        sockets.count += 1
        if sockets.timer is not None:
            sockets.timer.cancel()
            sockets.timer = None

    def accept(self, namespace: str, user_id: str) -> None:
        """Tell of a socket that was entered and is accepted now."""
        self._by_namespace[namespace][user_id].accepted = True
        self._changed((namespace, user_id))

    def leave(self, namespace: str, user_id: str) -> None:
        """Count a socket no more: it has left, or was refused."""
        sockets = self._by_namespace[namespace][user_id]
        sockets.count -= 1
        if sockets.count == 0:
            if not sockets.accepted:
                self._remove(namespace, user_id)
                return
            loop = asyncio.get_running_loop()
            sockets.timer = loop.call_later(GRACE, self._expire, namespace, user_id)
        self._changed((namespace, user_id))

    def change(self, key: Key, *, is_new: bool) -> Change:
        """Return what there is to tell of a user."""
        namespace, user_id = key
        sockets = self._by_namespace.get(namespace, {}).get(user_id)
        if sockets is None:
            return Change(namespace, user_id, sockets=0, since=0.0, is_new=is_new, left=True)
        return Change(namespace, user_id, sockets.count, sockets.since, is_new=is_new, left=False)

    def stop(self) -> None:
        """Wait for nobody any more."""
        for users in self._by_namespace.values():
            for sockets in users.values():
                if sockets.timer is not None:
                    sockets.timer.cancel()

    def _expire(self, namespace: str, user_id: str) -> None:
        self._remove(namespace, user_id)
        self._changed((namespace, user_id))

    def _remove(self, namespace: str, user_id: str) -> None:
        users = self._by_namespace[namespace]
        del users[user_id]
        if not users:
            del self._by_namespace[namespace]


class _Sockets:
    """The sockets of one user in one namespace."""

    __slots__ = ("accepted", "count", "since", "timer")

    def __init__(self) -> None:
        self.count = 0
        self.since = time.time()
        self.accepted = False  # whether one of them was
        self.timer: asyncio.TimerHandle | None = None  # runs while there are none
