"""Fields of stored session data that this code does not know, kept through an edit.

During a rolling upgrade two versions of `SessionData` edit one session. The older one decodes
without the newer one's fields. They are collected here before an edit and added again after it,
in nested structs too. A field that was removed from `SessionData` is kept in the same way, until
the session ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_Child = tuple[Any, Any, Any]  # where it is in its parent, the decoded value, the raw value


class UnknownFields:
    """What one stored object, and the objects in it, hold beyond the fields of their types."""

    __slots__ = ("_extra", "_inside", "_value")

    def __init__(self, value: Any, raw: Any) -> None:
        """`value` is the decoded object, `raw` what msgspec decodes without a type."""
        self._value = value
        self._extra = _extra(value, raw)
        self._inside = {
            place: unknown
            for place, child, raw_child in _children(value, raw)
            if (unknown := UnknownFields(child, raw_child))
        }

    def __bool__(self) -> bool:
        return bool(self._extra or self._inside)

    def add_to(self, value: Any, raw: Any) -> None:
        """Add the unknown fields to `raw`, which encodes `value`, the object after the edit."""
        moved: dict[int, UnknownFields] = {}
        self._index(moved)
        _add(value, raw, self, moved, _identities(value, raw))

    def _index(self, found: dict[int, UnknownFields]) -> None:
        found[id(self._value)] = self
        for unknown in self._inside.values():
            unknown._index(found)


def _add(
    value: Any,
    raw: Any,
    here: UnknownFields | None,
    moved: dict[int, UnknownFields],
    alive: set[int],
) -> None:
    """Add to one object what it had, or what the object had whose place it took."""
    unknown = moved.get(id(value), here)
    if unknown is not None and type(unknown._value) is not type(value):
        unknown = None
    # an object that is elsewhere by now has taken its fields along
    if unknown is not None and (unknown._value is value or id(unknown._value) not in alive):
        if isinstance(raw, dict):
            raw.update({key: kept for key, kept in unknown._extra.items() if key not in raw})
        elif unknown._extra:
            raw.extend(unknown._extra)
    for place, child, raw_child in _children(value, raw):
        # an item of a list has no place of its own: others may have come and gone before it
        stays = unknown is not None and not isinstance(value, list | tuple)
        _add(
            child,
            raw_child,
            unknown._inside.get(place) if unknown is not None and stays else None,
            moved,
            alive,
        )


def _identities(value: Any, raw: Any) -> set[int]:
    """Return the ids of an object and of all objects in it."""
    found = {id(value)}
    for _, child, raw_child in _children(value, raw):
        found |= _identities(child, raw_child)
    return found


def _fields(value: Any) -> dict[str, str] | None:
    """Return the fields of an object and their encoded names; None if it has no fixed fields."""
    if isinstance(value, msgspec.Struct):
        return dict(zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True))
    names: Iterable[str] | None = getattr(type(value), "__dataclass_fields__", None)
    return None if names is None else {name: name for name in names}


def _tags(value: Any) -> int:
    """Return how many items stand before the fields of a struct that is encoded as an array."""
    return int(value.__struct_config__.tag is not None)


def _extra(value: Any, raw: Any) -> Any:
    """Return the fields of `raw` that `value` lacks: a dict, or for an array the rest of it."""
    fields = _fields(value)
    if fields is not None and isinstance(raw, dict):
        known: set[str | None] = {*fields.values()}
        if isinstance(value, msgspec.Struct):
            known.add(value.__struct_config__.tag_field)
        return {key: kept for key, kept in raw.items() if key not in known}
    if isinstance(value, msgspec.Struct) and isinstance(raw, list):
        return raw[len(value.__struct_fields__) + _tags(value) :]
    if isinstance(value, dict) and isinstance(raw, dict) and len(value) < len(raw):
        # a TypedDict
        return {key: kept for key, kept in raw.items() if key not in value}
    return {}


def _children(value: Any, raw: Any) -> list[_Child]:
    """Return the objects in an object beside their raw forms."""
    fields = _fields(value)
    if fields is not None and isinstance(raw, dict):
        return [
            (name, getattr(value, name), raw[encoded])
            for name, encoded in fields.items()
            if encoded in raw
        ]
    if isinstance(value, msgspec.Struct) and isinstance(raw, list):
        values = [(name, getattr(value, name)) for name in value.__struct_fields__]
        pairs = zip(values, raw[_tags(value) :], strict=False)
        return [(name, child, raw_child) for (name, child), raw_child in pairs]
    if isinstance(value, dict) and isinstance(raw, dict):
        if len(value) == len(raw):  # a key may be encoded otherwise, but the order is the same
            pairs_of = zip(value.items(), raw.values(), strict=True)
            return [(key, child, raw_child) for (key, child), raw_child in pairs_of]
        return [(key, child, raw[key]) for key, child in value.items() if key in raw]
    if isinstance(value, list | tuple) and isinstance(raw, list) and len(value) == len(raw):
        return [(at, *pair) for at, pair in enumerate(zip(value, raw, strict=True))]
    return []
