"""The namespaces of an application, by name and by pattern."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import Any

from app.services import Services
from app.sockets.base_namespace import BaseNamespace
from app.sockets.event_table import event_table
from app.sockets.namespace_pattern import NamespacePattern, is_pattern

_Class = type[BaseNamespace[Any]]


class Namespaces:
    """Registers namespaces, and makes those of patterns when the first client asks for one.

    Exact names win, then patterns in the order in which they were added, then `*`.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._patterns: list[tuple[NamespacePattern, _Class]] = []

    def add(self, name: str, cls: _Class) -> None:
        """Register a class for a name or a pattern.

        Raises ValueError with a sentence if either is invalid, or the pattern is taken.
        """
        pattern = NamespacePattern(name)
        for event in event_table(cls).events():
            self._services.counters.event(name, event)  # from zero, for metrics
        _check_arguments(name, cls)
        if not is_pattern(name):
            self._services.socket_server.register_namespace(cls(name, self._services))
            return
        for other, owner in self._patterns:
            if other.shape == pattern.shape:
                raise ValueError(
                    f"{cls.__qualname__}: the namespaces {name} are those of {other.text}, which "
                    f"{owner.__qualname__} has; choose another name"
                )
        self._patterns.append((pattern, cls))
        self._patterns.sort(key=lambda entry: entry[0].text == "*")  # the last resort

    def matches(self, name: str) -> bool:
        """Tell whether a pattern matches this name."""
        return any(pattern.match(name) is not None for pattern, _ in self._patterns)

    def make(self, name: str) -> BaseNamespace[Any] | None:
        """Return a new namespace of this name, by the first pattern that matches, or None."""
        for pattern, cls in self._patterns:
            values = pattern.match(name)
            if values is not None:
                namespace = cls(name, self._services)
                namespace.pattern, namespace.parameters = pattern.text, MappingProxyType(values)
                return namespace
        return None


def _check_arguments(name: str, cls: _Class) -> None:
    """Refuse handlers that expect the namespace, as those of python-socketio's `*` do."""
    if name != "*":
        return
    for attribute in dir(cls):
        method = getattr(cls, attribute)
        if not attribute.startswith("on_") or not inspect.isfunction(method):
            continue
        if [*inspect.signature(method).parameters][1:2] == ["namespace"]:
            raise ValueError(
                f"{cls.__qualname__}.{attribute} takes the namespace as its first argument, as in "
                "python-socketio; remove it, and read self.namespace"
            )
