"""Who is present: the users with sockets in each namespace, and the hooks that tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from app.common.background import Background, wait_until_set
from app.presence.hooks import Hooks
from app.presence.local_presence import UsersHere
from app.presence.users import Alone, Forgotten, Key, Users, UserSockets
from app.stores import StoreError

log = logging.getLogger("latchkey.presence")

_BEAT_INTERVAL = 5.0  # seconds
_BATCH_INTERVAL = 0.05  # seconds in which changes wait for each other
_BATCH = 500  # changes
_RETRY_INTERVAL = 1.0  # seconds
_STOP_TIMEOUT = 1.0  # seconds that hooks have when the process stops


class Presence:
    """The users who have sockets, in all processes.

    A user is present in a namespace from the first accepted CONNECT until 2 seconds after the last
    socket has left. Visitors are not counted.
    """

    def __init__(self, find: Callable[[str], Any], users: Users | None = None) -> None:
        """`find` returns the namespace of a name, or None; `users` are those of all processes."""
        self._find = find
        self._site = users or Alone()
        self._is_alone = users is None
        self._changed: set[Key] = set()
        self._written: set[Key] = set()  # what the site knows of this process
        self._dirty = asyncio.Event()
        self._hooks = Hooks(find)
        self._background = Background()
        #: Namespaces tell this of their clients.
        self.here = UsersHere(self._change)

    async def users(self, namespace: str = "/") -> set[str]:
        """Return the account ids of the users who are present in a namespace.

        In `on_connect` the client's own user is among them. If Redis is away, these are the users
        of this process. Raises ValueError for a namespace that there is not.
        """
        if self._find(namespace) is None:
            raise ValueError(f"no module of handlers/ has the namespace {namespace}")
        found = {*self.here.users(namespace)}
        with contextlib.suppress(StoreError):
            found.update(await self._site.users(namespace))
        return found

    async def everyone(self) -> set[str]:
        """Return the account ids of the users who are present in any namespace.

        If Redis is away, these are the users of this process. It costs a message as long as the
        answer, so ask seldom.
        """
        found = self.here.everyone()
        with contextlib.suppress(StoreError):
            found.update(await self._site.everyone())
        return found

    async def of(self, user_id: str) -> list[UserSockets]:
        """Return one row for each namespace in which a user is present.

        If Redis is away, these are the user's sockets at this process.
        """
        rows = self.here.of(user_id)
        with contextlib.suppress(StoreError):
            rows.extend(await self._site.of(user_id))
        merged: dict[str, UserSockets] = {}
        for row in rows:
            other = merged.get(row.namespace, UserSockets(row.namespace, 0, row.since))
            merged[row.namespace] = UserSockets(
                row.namespace, row.sockets + other.sockets, min(row.since, other.since)
            )
        return list(merged.values())

    # -- life --

    def start(self) -> None:
        """Tell the hooks and the other processes from now on, on the running loop."""
        self._background.start(self._run())

    async def stop(self) -> None:
        """Let the other processes tell who has left, or tell it if this process is alone."""
        self.here.stop()
        await self._background.stop()
        with contextlib.suppress(StoreError):
            for key in await self._site.stop([*self._written]):
                self._hooks.tell(key, joined=False)
        await self._hooks.stop(_STOP_TIMEOUT)

    def _change(self, key: Key) -> None:
        self._changed.add(key)
        self._dirty.set()

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
                await asyncio.sleep(_RETRY_INTERVAL)
            except Exception:
                log.exception("the presence of users could not be told")
                await asyncio.sleep(_RETRY_INTERVAL)
            await wait_until_set(self._dirty, max(next_beat - loop.time(), 0))
            if not self._is_alone:
                await asyncio.sleep(_BATCH_INTERVAL)

    async def _beat(self) -> None:
        """Say that this process runs, and tell who has left with a process that does not."""
        here = [self.here.change(key, is_new=False)._replace(left=False) for key in self._written]
        for key, joined in await self._site.beat(here):
            self._hooks.tell(key, joined=joined)

    async def _write(self) -> None:
        """Write what has changed, and tell the hooks; after an error it is still to be written."""
        self._dirty.clear()
        while self._changed:
            keys = [self._changed.pop() for _ in range(min(_BATCH, len(self._changed)))]
            changes = [self.here.change(key, is_new=key not in self._written) for key in keys]
            try:
                told = await self._site.update(changes)
            except BaseException:
                self._changed.update(keys)
                self._dirty.set()
                raise
            for key, change, is_told in zip(keys, changes, told, strict=True):
                (self._written.discard if change.left else self._written.add)(key)
                if is_told:
                    self._hooks.tell(key, joined=not change.left)
