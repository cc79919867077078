"""Which method of a namespace class handles which event, found once per class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import Any

from app.accounts import required_roles
from app.sockets.event_data_checks import Check
from app.sockets.event_decorator import HOOKS, methods_by_event, recent_sign_in_of, roles_by_method
from app.sockets.recent_sign_in import only_after_proof


class EventTable:
    """The methods of one namespace class, how each checks its arguments, and what it needs."""

    def __init__(self, cls: type) -> None:
        """Raises ValueError for two methods of one event, for hooks that cannot be called, for
        switches that have no value of theirs, and for annotations that cannot be checked.
        """
        _check_switches(cls)
        self._cls = cls
        self._named = methods_by_event(cls)
        self._other_names = {*HOOKS, *self._named.values()}  # no events by their own name
        self.has_catch_all = hasattr(cls, "on_any")
        #: The roles of which a client needs one to be in the namespace; empty: none.
        self.roles = _roles_of_class(cls)
        self._roles_by_method = roles_by_method(cls)
        self._checks: dict[str, Check] = {}
        self._minutes: dict[str, float] = {}  # for which a proof of the user is valid
        validate = getattr(cls, "validate", False)
        _check_hooks(cls)
        for attribute in dir(cls):
            handles = attribute.startswith("on_") or attribute in self._other_names
            checked = validate and attribute not in HOOKS - {"on_connect", "on_any"}
            if handles and checked and callable(getattr(cls, attribute)):
                self._checks[attribute] = Check(cls, attribute)
            if handles and attribute not in HOOKS - {"on_any"}:
                self._minutes[attribute] = recent_sign_in_of(cls, attribute)

    def method(self, namespace: object, event: str) -> Callable[..., Any] | None:
        """Return the bound method that handles a client's event; None if there is none."""
        attribute = self._named.get(event)
        if attribute is None:
            attribute = f"on_{event}"
            if attribute in self._other_names:
                return None
        return self.bound(namespace, attribute)

    def events(self) -> list[str]:
        """Return the events that are known before a client sends one, and the server's own."""
        own = [name for name in dir(self._cls) if name.startswith("on_")]
        by_name = {name[3:] for name in own if name not in self._other_names}
        hooks = {name[3:] for name in own if name in ("on_connect", "on_disconnect", "on_any")}
        return sorted({*self._named, *by_name, *hooks})

    def required(self, event: str | None) -> list[frozenset[str]]:
        """Return the roles that a client's event needs, one of each set; None: the catch-all."""
        attribute = "on_any" if event is None else self._named.get(event, f"on_{event}")
        sets = (self.roles, self._roles_by_method.get(attribute, frozenset[str]()))
        return [needed for needed in sets if needed]

    def bound(self, namespace: object, attribute: str) -> Callable[..., Any] | None:
        """Return a method of a namespace, checked if its class validates; None if it has none."""
        method: Callable[..., Any] | None = getattr(namespace, attribute, None)
        if method is None:
            return None
        check = self._checks.get(attribute)
        checked = method if check is None else check.around(method)
        minutes = self._minutes.get(attribute)
        return only_after_proof(namespace, checked, minutes) if minutes else checked


def event_table(cls: type) -> EventTable:
    """Return the table of a namespace class; pattern namespaces make many objects of one."""
    return _remembered(cls)


_remembered = functools.cache(EventTable)


#: The arguments with which the server calls a hook.
_ARGUMENTS = MappingProxyType(
    {
        "on_connect": ("sid", "environ", "auth"),
        "on_disconnect": ("sid", "reason"),
        "on_any": ("sid", "event"),
        "on_user_join": ("user_id",),
        "on_user_leave": ("user_id",),
    }
)


def _check_switches(cls: type) -> None:
    """Refuse a method or a value that has the name of a switch."""
    for name in ("login_required", "ordered", "validate", "ignore_unknown"):
        if not isinstance(getattr(cls, name, False), bool):
            raise ValueError(
                f"{cls.__qualname__}.{name} is a switch of namespaces, True or False; "
                "give your method or value another name"
            )
    minutes = getattr(cls, "recent_sign_in", 0)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes >= 0:
        raise ValueError(
            f"{cls.__qualname__}.recent_sign_in is a number of minutes, 0 or more; "
            "give your method or value another name"
        )


def _roles_of_class(cls: type) -> frozenset[str]:
    """Return what `role_required` of a class says; raises ValueError."""
    said = getattr(cls, "role_required", ())
    if callable(said) or not isinstance(said, Collection):
        raise ValueError(
            f"{cls.__qualname__}.role_required is the role that clients of the namespace need, "
            'such as "moderator"; give your method or value another name'
        )
    try:
        return required_roles(said)
    except ValueError as error:
        raise ValueError(f"{cls.__qualname__}.role_required: {error}") from None


def _check_hooks(cls: type) -> None:
    """Refuse a hook that cannot be called, such as an event of the same name."""
    for name, arguments in _ARGUMENTS.items():
        method = getattr(cls, name, None)
        if method is None:
            continue
        drops_last = name in ("on_connect", "on_disconnect")
        if not any(
            _takes(method, count)
            for count in range(1 if drops_last else len(arguments), len(arguments) + 1)
        ):
            raise ValueError(
                f"{cls.__qualname__}.{name} is called by the server with "
                f"({', '.join(arguments)}{', *args' * (name == 'on_any')}) and cannot take that; "
                f"if it is to handle an event {name[3:]!r} of clients, give it another name and "
                f"@event({name[3:]!r})"
            )


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Return whether a method of a class takes so many arguments besides `self`."""
    try:
        inspect.signature(method).bind(*[None] * (count + 1))
    except TypeError:
        return False
    return True
