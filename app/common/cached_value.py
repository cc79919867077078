"""An attribute that is computed when it is read for the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class cached_value(Generic[T]):  # noqa: N801  # a decorator, like `property`
    """Decorates a method without arguments: its result is kept in an attribute of that name.

    `functools.cached_property` keeps it in the object's `__dict__`. Python 3.11 stores the
    attributes of an object without a dict until code reads its `__dict__`. After that, each
    attribute of the object takes more than twice as long to read.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_value[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> cached_value[T] | T:
        if instance is None:
            return self
        value = self._compute(instance)
        setattr(instance, self._name, value)
        return value
