"""The methods of namespaces that are told who came and who left."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

from app.common.background import Background
from app.common.log_and_continue import logged
from app.presence.users import Key

log = logging.getLogger("latchkey.presence")


class Namespace(Protocol):
    """A namespace, as far as it is told of users."""

    #: Whether it defines one of the two.
    has_user_hooks: bool

    def on_user_join(self, user_id: str) -> Any: ...
    def on_user_leave(self, user_id: str) -> Any: ...


class Hooks:
    """Calls the hooks of namespaces; those of one user and namespace one after the other."""

    def __init__(self, find: Callable[[str], Namespace | None]) -> None:
        """`find` returns the namespace of a name, or None."""
        self._find = find
        self._last: dict[Key, asyncio.Task[None]] = {}
        self._background = Background()

    def tell(self, key: Key, *, joined: bool) -> None:
        """Call the hook of a namespace if it has one; do not wait for it."""
        name, user_id = key
        namespace = self._find(name)
        if namespace is None or not getattr(namespace, "has_user_hooks", False):
            return
        hook = namespace.on_user_join if joined else namespace.on_user_leave
        task = self._background.start(_call(self._last.get(key), hook, user_id))
        self._last[key] = task
        task.add_done_callback(lambda task: self._ended(key, task))

    async def stop(self, seconds: float) -> None:
        """Let hooks end for some seconds, then cancel them."""
        await self._background.stop(seconds=seconds)

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._last.get(key) is task:
            del self._last[key]


async def _call(
    previous: asyncio.Task[None] | None, hook: Callable[[str], Any], user_id: str
) -> None:
    if previous is not None:
        await asyncio.wait([previous])
    with logged(log, "%s failed", getattr(hook, "__qualname__", hook)):
        result = hook(user_id)
        if inspect.isawaitable(result):
            await result
