"""Header fields, by Tornado's interface."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from tornado.httputil import HTTPHeaders


@functools.lru_cache(1000)
def _cased(name: str) -> str:
    """Return a name as HTTP/1 has it by custom: `Content-Type`."""
    return "-".join([word.capitalize() for word in name.split("-")])


Fields = dict[str, list[str]]


class Headers(HTTPHeaders):
    """Tornado's headers, made, read and copied in fewer steps.

    It checks no grammar: `parse_head` checks requests, and `Response.begin` responses.
    """

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        #: The values of each name, which is written as HTTP/1 has it by custom: `Content-Type`.
        self.fields: Fields = {}
        for name, value in fields:
            self.add(name, value)

    @classmethod
    def of_lines(cls, lines: Iterable[str]) -> Headers:
        """Return the headers in the lines of a head that are known to be well-formed."""
        headers = cls()
        fields = headers.fields
        for line in lines:
            name, _, value = line.partition(":")
            name, value = _cased(name), value.strip(" \t")
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
        return headers

    def add(self, name: str, value: str, **_: Any) -> None:
        """Add a field, beside those of this name."""
        name = _cased(name)
        self.fields[name] = [*self.fields.get(name, ()), value]  # a copy may have the same list

    def get_list(self, name: str) -> list[str]:
        """Return the values of all fields of this name."""
        return self.fields.get(_cased(name), [])

    def get_all(self) -> list[tuple[str, str]]:
        """Return name and value of each field."""
        return [(name, value) for name, values in self.fields.items() for value in values]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # of Mapping
        """Return name and value of each name; several values are joined by commas."""
        return [*zip(self.fields, map(",".join, self.fields.values()), strict=True)]

    def lines(self) -> list[str]:
        """Return each field as a line of a head."""
        return [f"{name}: {value}" for name, values in self.fields.items() for value in values]

    def get(self, name: str, default: Any = None, /) -> Any:  # as in Mapping
        """Return the value of a name, several joined by commas (RFC 9110, 5.3)."""
        values = self.fields.get(_cased(name))
        if values is None:
            return default
        return values[0] if len(values) == 1 else ",".join(values)

    def copy(self) -> Headers:
        twin = Headers()
        twin.fields = self.fields.copy()
        return twin

    __copy__ = copy

    def __getitem__(self, name: str) -> str:
        return ",".join(self.fields[_cased(name)])

    def __setitem__(self, name: str, value: str) -> None:
        self.fields[_cased(name)] = [value]

    def __delitem__(self, name: str) -> None:
        del self.fields[_cased(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _cased(name) in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)
