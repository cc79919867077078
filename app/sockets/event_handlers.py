"""The handlers of one namespace, by event."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.common.histogram import Histogram
from app.sockets.event_table import EventTable
from app.sockets.handler_method import EventHandler


class EventHandlers:
    """Finds the method of an event once, and remembers it."""

    def __init__(
        self,
        namespace: object,
        table: EventTable,
        seconds: Callable[[str], Histogram],
        roles: Callable[[Sequence[frozenset[str]]], Callable[[str], Awaitable[None]]],
    ) -> None:
        """`seconds` returns the durations of an event, `roles` the check of one that needs some."""
        #: Those that were found, by event.
        self.by_event: dict[str, EventHandler] = {}
        self._namespace = namespace
        self._table = table
        self._seconds = seconds
        self._roles = roles
        self._hooks: dict[str, EventHandler] = {}

    def find(self, event: str) -> EventHandler | None:
        """Return the handler of a client's event; None if there is none."""
        handler = self.by_event.get(event)
        if handler is not None:
            return handler
        method = self._table.method(self._namespace, event)
        if method is None:  # clients choose these names, so nothing is remembered of them
            return self._catch_all(event) if self._table.has_catch_all else None
        handler = self.by_event[event] = EventHandler(method, self._seconds(event))
        self._require_roles(handler, event)
        return handler

    def hook(self, name: str) -> EventHandler | None:
        """Return the method that is called for `connect`, `disconnect` or `any`, or None."""
        hook = self._hooks.get(name)
        if hook is None and (method := self._table.bound(self._namespace, f"on_{name}")):
            hook = self._hooks[name] = EventHandler(method, self._seconds(name))
        return hook

    def _catch_all(self, event: str) -> EventHandler | None:
        """Return `on_any` as the handler of this event."""
        hook = self.hook("any")
        if hook is None:
            return None
        on_any = hook.method

        def method(sid: str, *args: Any) -> Any:
            return on_any(sid, event, *args)

        handler = copy.copy(hook)
        handler.method = method
        handler.minimum, handler.maximum = hook.minimum - 1, hook.maximum - 1
        self._require_roles(handler, None)
        return handler

    def _require_roles(self, handler: EventHandler, event: str | None) -> None:
        """Let a handler check roles, if its event needs some; others cost nothing."""
        needed = self._table.required(event)
        if needed:
            handler.require(self._roles(needed))
