"""Two forms of the same data side by side: typed, and plain as msgspec decodes it without types.

A plain struct is a dict by encoded names, or a list if the struct is encoded as an array. Objects
that differ in any other way are treated as if nothing were in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_Pair = tuple[Any, Any, Any]  # the place in the parent, the typed object, its plain form


def pairs(typed: Any, plain: Any) -> list[_Pair]:
    """Return the objects in an object, each with its place and its plain form."""
    fields = _fields(typed)
    if fields is not None and isinstance(plain, dict):
        return [
            (name, getattr(typed, name), plain[encoded])
            for name, encoded in fields.items()
            if encoded in plain
        ]
    if isinstance(typed, msgspec.Struct) and isinstance(plain, list):
        values = plain[_tag_items(typed) :]
        names = typed.__struct_fields__
        return [
            (name, getattr(typed, name), value) for name, value in zip(names, values, strict=False)
        ]
    if isinstance(typed, dict) and isinstance(plain, dict):
        return _dict_pairs(typed, plain)
    if isinstance(typed, list | tuple) and isinstance(plain, list) and len(typed) == len(plain):
        return [(index, *items) for index, items in enumerate(zip(typed, plain, strict=True))]
    return []


def extra_fields(typed: Any, plain: Any) -> dict[Any, Any] | list[Any]:
    """Return the fields of the plain form that the typed one lacks; of an array, the rest."""
    fields = _fields(typed)
    if fields is not None and isinstance(plain, dict):
        known: set[str | None] = {*fields.values()}
        if isinstance(typed, msgspec.Struct):
            known.add(typed.__struct_config__.tag_field)
        return {key: value for key, value in plain.items() if key not in known}
    if isinstance(typed, msgspec.Struct) and isinstance(plain, list):
        return plain[len(typed.__struct_fields__) + _tag_items(typed) :]
    if isinstance(typed, dict) and isinstance(plain, dict) and len(typed) < len(plain):
        # a TypedDict
        return {key: value for key, value in plain.items() if key not in typed}
    return {}


def add_fields(plain: Any, extra: dict[Any, Any] | list[Any]) -> None:
    """Add to a plain form what `extra_fields` returned."""
    if isinstance(plain, dict) and isinstance(extra, dict):
        plain.update({key: value for key, value in extra.items() if key not in plain})
    elif isinstance(plain, list) and extra:
        plain.extend(extra)


def _dict_pairs(typed: dict[Any, Any], plain: dict[Any, Any]) -> list[_Pair]:
    if len(typed) == len(plain):
        # keys may be encoded in another form, but their order is the same
        items = zip(typed.items(), plain.values(), strict=True)
        return [(key, value, plain_value) for (key, value), plain_value in items]
    return [(key, value, plain[key]) for key, value in typed.items() if key in plain]


def _fields(typed: Any) -> dict[str, str] | None:
    """Return the fields of an object with their encoded names; None if it has no fixed fields."""
    if isinstance(typed, msgspec.Struct):
        return dict(zip(typed.__struct_fields__, typed.__struct_encode_fields__, strict=True))
    names: Iterable[str] | None = getattr(type(typed), "__dataclass_fields__", None)
    return None if names is None else {name: name for name in names}


def _tag_items(typed: msgspec.Struct) -> int:
    """Return how many items come before the fields of a struct that is encoded as an array."""
    return int(typed.__struct_config__.tag is not None)
