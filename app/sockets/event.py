"""The decorator that names the event of a method, and the events that methods have by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from app.transport.socketio.packets import RESERVED_EVENTS

F = TypeVar("F", bound=Callable[..., Any])
#: Methods that begin with `on_` and are called by the server, so no client's event runs them.
HOOKS = frozenset({"on_connect", "on_disconnect", "on_any", "on_user_join", "on_user_leave"})
# attributes of a function, which other decorators copy
_ATTRIBUTE = "latchkey_events"
_RECENT_SIGN_IN = "latchkey_recent_sign_in"


def event(name: str | None = None, *, recent_sign_in: float | None = None) -> Callable[[F], F]:
    """Let a method of a namespace handle the event `name`, which need not be an identifier.

        @event("chat message")
        async def chat_message(self, sid: str, text: str) -> None: ...

    Several decorators give it several events. It handles these and no event of its own name,
    even if that begins with `on_`. Without a name it keeps the event of its own name.

    With `recent_sign_in`, in minutes, it runs only for users who have proven who they are in so
    many minutes; others get the ack `{"error": "reauthenticate"}`. 0 lifts that of the namespace.
    Raises ValueError for a name that Socket.IO reserves, and for less than 0 minutes.
    """
    if name in RESERVED_EVENTS:
        raise ValueError(f"@event({name!r}): Socket.IO reserves this name; choose another")
    if recent_sign_in is not None and not recent_sign_in >= 0:
        raise ValueError(f"@event(recent_sign_in={recent_sign_in!r}): give minutes, 0 or more")

    def decorate(method: F) -> F:
        if name is not None:
            method.__dict__[_ATTRIBUTE] = (*events_of(method), name)
        if recent_sign_in is not None:
            method.__dict__[_RECENT_SIGN_IN] = recent_sign_in
        return method

    return decorate


def recent_sign_in_of(cls: type, attribute: str) -> float:
    """Return for how many minutes a proof is valid for this method of a namespace; 0: for ever."""
    of_class: float = getattr(cls, "recent_sign_in", 0)
    minutes: float = getattr(getattr(cls, attribute, None), _RECENT_SIGN_IN, of_class)
    return minutes


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
