"""The decorator of a method that handles an event: what the event is called, what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from app.accounts import RoleRequired, required_roles
from app.transport.socketio.packets import RESERVED_EVENTS

F = TypeVar("F", bound=Callable[..., Any])
#: Methods that begin with `on_` and are called by the server, so no client's event runs them.
HOOKS = frozenset({"on_connect", "on_disconnect", "on_any", "on_user_join", "on_user_leave"})
# attributes of a function, which other decorators copy
_EVENTS = "latchkey_events"
_RECENT_SIGN_IN = "latchkey_recent_sign_in"
_ROLES = "latchkey_roles"


def event(
    name: str | None = None,
    *,
    role_required: RoleRequired = (),
    recent_sign_in: float | None = None,
) -> Callable[[F], F]:
    """Let a method of a namespace handle the event `name`, which need not be an identifier.

        @event("chat message")
        async def chat_message(self, sid: str, text: str) -> None: ...

        @event(role_required="moderator")
        async def on_ban(self, sid: str, user_id: str) -> None: ...

    Several decorators give it several events. It handles these and no event of its own name,
    even if that begins with `on_`. Without a name it keeps the event of its own name.

    With `role_required` all events of the method need that role, or one of several.

    With `recent_sign_in`, in minutes, it runs only for users who have proven who they are in so
    many minutes; others get the ack `{"error": "reauthenticate"}`. 0 lifts that of the namespace.
    Raises ValueError for a name that Socket.IO reserves, for what is no role, and for less than 0
    minutes.
    """
    needed = required_roles(role_required)
    if name in RESERVED_EVENTS:
        raise ValueError(f"@event({name!r}): Socket.IO reserves this name; choose another")
    if recent_sign_in is not None and not recent_sign_in >= 0:
        raise ValueError(f"@event(recent_sign_in={recent_sign_in!r}): give minutes, 0 or more")
    if name is None and not needed and recent_sign_in is None:
        raise ValueError("@event() needs the name of an event, or what its user needs")

    def decorate(method: F) -> F:
        if name is not None:
            method.__dict__[_EVENTS] = (*events_of(method), name)
        if recent_sign_in is not None:
            method.__dict__[_RECENT_SIGN_IN] = recent_sign_in
        if needed:
            _require(method, needed)
        return method

    return decorate


def recent_sign_in_of(cls: type, attribute: str) -> float:
    """Return for how many minutes a proof is valid for this method of a namespace; 0: for ever.

    A method that overrides another one keeps its minutes, unless a decorator says others.
    """
    for base in cls.__mro__:
        minutes: float | None = getattr(vars(base).get(attribute), _RECENT_SIGN_IN, None)
        if minutes is not None:
            return minutes
    of_class: float = getattr(cls, "recent_sign_in", 0)
    return of_class


def _require(method: Callable[..., Any], needed: frozenset[str]) -> None:
    """Note the roles of a method; raises ValueError if another decorator did so before."""
    if roles_of(method):
        raise ValueError(f"{method.__qualname__}: say role_required in one @event only")
    method.__dict__[_ROLES] = needed


def roles_of(method: Any) -> frozenset[str]:
    """Return the roles of which a client needs one for the events of a function."""
    roles: frozenset[str] = getattr(method, _ROLES, frozenset())
    return roles


def roles_by_method(cls: type) -> dict[str, frozenset[str]]:
    """Return the roles that methods need, by the names of the methods.

    A method that overrides another one needs its roles, unless it has others by a decorator.
    Raises ValueError for a method that handles no event.
    """
    needed: dict[str, frozenset[str]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if roles := roles_of(value):
                needed[attribute] = roles
    named = {*methods_by_event(cls).values()}
    for attribute in needed:
        handles = attribute in named or (attribute.startswith("on_") and attribute not in HOOKS)
        if not handles and attribute != "on_any":
            raise ValueError(
                f"{cls.__qualname__}.{attribute} has role_required but handles no event of "
                'clients; give it one by @event("…"), or say role_required in the class'
            )
    return needed


def events_of(method: Any) -> tuple[str, ...]:
    """Return the events that decorators have given to a function; none for anything else."""
    names: tuple[str, ...] = getattr(method, _EVENTS, ())
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
