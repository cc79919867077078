"""Fields of stored session data that this release does not know, kept through an edit.

During a rolling upgrade two releases edit one session. The older one decodes it without the
fields that the newer one has added to `SessionData`. So they are noted before an edit and added
again after it, in nested objects too. A field that was removed from `SessionData` is kept in the
same way, until the session ends.

An edit may move objects, and replace them:

- An object that was there before keeps its fields, wherever it is now.
- A new object gets the fields of the object whose place it has taken, if that is of the same type
  and is nowhere else.
- A place is a field or a key. An index of a list is none, since items before it come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.sessions.plain_data import add_fields, extra_fields, pairs


class UnknownFields:
    """The fields of session data before an edit that its types do not have."""

    __slots__ = ("_root",)

    def __init__(self, typed: Any, plain: Any) -> None:
        """Note what only `plain` has: the data as msgspec decodes it without a type."""
        self._root = _note(typed, plain)

    def __bool__(self) -> bool:
        return bool(self._root)

    def add_to(self, typed: Any, plain: Any) -> None:
        """Add the fields to `plain`, the encoded form of `typed`, which is the edited data."""
        _Restoration(self._root, typed, plain).visit(typed, plain, self._root)


@dataclass(slots=True)
class _Noted:
    """An object before the edit: the fields that its type lacks, and the objects in it."""

    typed: Any
    extra: Any
    children: dict[Any, _Noted]  # by place; only those where something was noted

    def __bool__(self) -> bool:
        return bool(self.extra or self.children)

    def all(self) -> Iterator[_Noted]:
        """Return this object and all objects in it."""
        yield self
        for child in self.children.values():
            yield from child.all()


def _note(typed: Any, plain: Any) -> _Noted:
    children = {
        place: noted
        for place, child, plain_child in pairs(typed, plain)
        if (noted := _note(child, plain_child))
    }
    return _Noted(typed, extra_fields(typed, plain), children)


class _Restoration:
    """One walk over the edited data, in which each object gets its fields back."""

    def __init__(self, root: _Noted, typed: Any, plain: Any) -> None:
        self._noted = {id(noted.typed): noted for noted in root.all()}
        self._present = set(_identities(typed, plain))  # of the objects in the edited data

    def visit(self, typed: Any, plain: Any, replaced: _Noted | None) -> None:
        """Add the fields of an object and of all in it; `replaced` had its place before."""
        noted = self._noted.get(id(typed), replaced)
        if noted is not None and type(noted.typed) is not type(typed):
            noted = None
        if noted is not None and self._belongs_to(noted, typed):
            add_fields(plain, noted.extra)
        for place, child, plain_child in pairs(typed, plain):
            has_place = noted is not None and not isinstance(typed, list | tuple)
            before = noted.children.get(place) if noted is not None and has_place else None
            self.visit(child, plain_child, before)

    def _belongs_to(self, noted: _Noted, typed: Any) -> bool:
        """Return whether these fields are for this object, not for one that has moved."""
        return noted.typed is typed or id(noted.typed) not in self._present


def _identities(typed: Any, plain: Any) -> Iterator[int]:
    yield id(typed)
    for _, child, plain_child in pairs(typed, plain):
        yield from _identities(child, plain_child)
