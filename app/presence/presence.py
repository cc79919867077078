"""Who is present: the users with sockets in each namespace, and the hooks that tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from app.common.background import Background, wait_until_set
from app.presence.hooks import Hooks
from app.presence.users import Change, Forgotten, Key, Users, UsersHere, UserSockets
from app.stores import StoreError

log = logging.getLogger("latchkey.presence")

#: Seconds for which a user without sockets is still present, such as during a reload of the page.
GRACE = 2.0
_BEAT_INTERVAL = 5.0  # seconds
_BATCH_INTERVAL = 0.05  # seconds in which changes wait for each other
_BATCH = 500  # changes
_STOP_TIMEOUT = 1.0  # seconds that hooks have when the process stops


class Presence:
    """The users who have sockets, in all processes.

    A user is present in a namespace from the first accepted CONNECT until GRACE seconds after the
    last socket has left. Visitors are not counted.
    """

    def __init__(self, find: Callable[[str], Any], users: Users | None = None) -> None:
        """`find` returns the namespace of a name, or None; `users` those of all processes."""
        self._find = find
        self._others = users or UsersHere()
        self._alone = users is None
        self._here: dict[Key, _Here] = {}
        self._changed: set[Key] = set()
        self._written: set[Key] = set()  # what the other processes know of this one
        self._dirty = asyncio.Event()
        self._hooks = Hooks(find)
        self._background = Background()

    async def users(self, namespace: str = "/") -> set[str]:
        """Return the account ids of the users who are present in a namespace.

        In `on_connect` the client's own user is among them. If Redis is away, these are the users
        of this process. Raises ValueError for a namespace that there is not.
        """
        if self._find(namespace) is None:
            raise ValueError(f"no module of handlers/ has the namespace {namespace}")
        found = {user_id for name, user_id in self._here if name == namespace}
        with contextlib.suppress(StoreError):
            found.update(await self._others.users(namespace))
        return found

    async def of(self, user_id: str) -> list[UserSockets]:
        """Return one row for each namespace in which a user is present.

        If Redis is away, these are the user's sockets at this process.
        """
        rows = [
            UserSockets(namespace, here.sockets, here.since)
            for (namespace, user), here in self._here.items()
            if user == user_id
        ]
        with contextlib.suppress(StoreError):
            rows.extend(await self._others.of(user_id))
        merged: dict[str, UserSockets] = {}
        for row in rows:
            other = merged.get(row.namespace, UserSockets(row.namespace, 0, row.since))
            merged[row.namespace] = UserSockets(
                row.namespace, row.sockets + other.sockets, min(row.since, other.since)
            )
        return list(merged.values())

    # -- called by namespaces --

    def enter(self, namespace: str, user_id: str) -> None:
        """Count a socket of a user whose CONNECT is not answered yet."""
        here = self._here.get((namespace, user_id))
        if here is None:
            here = self._here[namespace, user_id] = _Here()
        here.sockets += 1
        if here.timer is not None:
            here.timer.cancel()
            here.timer = None

    def accept(self, namespace: str, user_id: str) -> None:
        """Tell of a socket that was entered and is accepted now."""
        self._here[namespace, user_id].accepted = True
        self._change((namespace, user_id))

    def leave(self, namespace: str, user_id: str) -> None:
        """Count a socket no more: it has left, or was refused."""
        key = namespace, user_id
        here = self._here[key]
        here.sockets -= 1
        if here.sockets == 0:
            if not here.accepted:
                del self._here[key]
                return
            loop = asyncio.get_running_loop()
            here.timer = loop.call_later(GRACE, self._forget, key)
        self._change(key)

    def _forget(self, key: Key) -> None:
        del self._here[key]
        self._change(key)

    def _change(self, key: Key) -> None:
        self._changed.add(key)
        self._dirty.set()

    # -- life --

    def start(self) -> None:
        """Tell the hooks and the other processes from now on, on the running loop."""
        self._background.start(self._run())

    async def stop(self) -> None:
        """Let the other processes tell who has left, or tell it if this process is alone."""
        for here in self._here.values():
            if here.timer is not None:
                here.timer.cancel()
        await self._background.stop()
        with contextlib.suppress(StoreError):
            for key in await self._others.stop():
                self._hooks.tell(key, joined=False)
        await self._hooks.stop(_STOP_TIMEOUT)

    async def _run(self) -> None:
        """Write changes as they come, and heartbeats."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while True:
            try:
                if loop.time() >= next_beat:
                    next_beat = loop.time() + _BEAT_INTERVAL
                    await self._beat()
                await self._write()
            except Forgotten:
                next_beat = loop.time()
                continue
            except StoreError:
                await asyncio.sleep(1)
            except Exception:
                log.exception("the presence of users could not be told")
            await wait_until_set(self._dirty, max(next_beat - loop.time(), 0))
            if not self._alone:
                await asyncio.sleep(_BATCH_INTERVAL)

    async def _beat(self) -> None:
        """Say that this process runs, and tell who has left with a process that does not."""
        here = [self._as_change(key)._replace(left=False) for key in self._written]
        for key, joined in await self._others.beat(here):
            self._hooks.tell(key, joined=joined)

    async def _write(self) -> None:
        """Write what has changed, and tell the hooks; after an error it is still to be written."""
        self._dirty.clear()
        while self._changed:
            keys = [self._changed.pop() for _ in range(min(_BATCH, len(self._changed)))]
            changes = [self._as_change(key) for key in keys]
            try:
                told = await self._others.update(changes)
            except BaseException:
                self._changed.update(keys)
                self._dirty.set()
                raise
            for key, change, is_new in zip(keys, changes, told, strict=True):
                (self._written.discard if change.left else self._written.add)(key)
                if is_new:
                    self._hooks.tell(key, joined=not change.left)

    def _as_change(self, key: Key) -> Change:
        here = self._here.get(key)
        if here is None:
            return Change(*key, sockets=0, since=0.0, left=True)
        return Change(*key, sockets=here.sockets, since=here.since, left=False)


class _Here:
    """The sockets of one user in one namespace of this process."""

    __slots__ = ("accepted", "since", "sockets", "timer")

    def __init__(self) -> None:
        self.sockets = 0
        self.since = time.time()
        self.accepted = False  # whether a socket was
        self.timer: asyncio.TimerHandle | None = None  # runs while there are no sockets
