"""The decorator that names the event of a method, and the events that methods have by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from app.transport.socketio.packets import RESERVED_EVENTS

F = TypeVar("F", bound=Callable[..., Any])
#: Methods that begin with `on_` and are called by the server, so no client's event runs them.
HOOKS = frozenset({"on_connect", "on_disconnect", "on_any", "on_user_join", "on_user_leave"})
_ATTRIBUTE = "latchkey_events"  # of a function, which other decorators copy


def event(name: str) -> Callable[[F], F]:
    """Let a method of a namespace handle the event `name`, which need not be an identifier.

        @event("chat message")
        async def chat_message(self, sid: str, text: str) -> None: ...

    Several decorators give it several events. It handles these and no event of its own name,
    even if that begins with `on_`. Raises ValueError for a name that Socket.IO reserves.
    """
    if name in RESERVED_EVENTS:
        raise ValueError(f"@event({name!r}): Socket.IO reserves this name; choose another")

    def decorate(method: F) -> F:
        method.__dict__[_ATTRIBUTE] = (*events_of(method), name)
        return method

    return decorate


def events_of(method: Any) -> tuple[str, ...]:
    """Return the events that decorators have given to a function; none for anything else."""
    names: tuple[str, ...] = getattr(method, _ATTRIBUTE, ())
    return names


def methods_by_event(cls: type) -> dict[str, str]:
    """Return the names of the methods that decorators have given events, by event.

    A method that overrides another one keeps its events, unless it has decorators of its own.
    Raises ValueError if two methods have the same event.
    """
    by_attribute: dict[str, tuple[str, ...]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if names := events_of(value):
                by_attribute[attribute] = names
    taken = {*by_attribute, *HOOKS}  # these have no events by their own names
    methods: dict[str, str] = {}
    for attribute, names in by_attribute.items():
        for name in names:
            other = methods.setdefault(name, attribute)
            plain = f"on_{name}"
            if other == attribute and plain not in taken and hasattr(cls, plain):
                other = plain
            if other != attribute:
                raise ValueError(
                    f"{cls.__qualname__}: {other} and {attribute} both handle the event "
                    f"{name!r}; rename one of them, or remove its @event"
                )
    return methods
