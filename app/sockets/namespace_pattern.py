"""A pattern of namespaces, such as `/room/{name}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

_FIELD = re.compile(r"\{(?P<name>[^{}:]*)(?::(?P<kind>[^{}]*))?\}")
#: What a value of each kind matches, and what makes it of the text.
_KINDS: MappingProxyType[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {"str": ("[^/]+", str), "int": ("(?:0|[1-9][0-9]{0,14})", int), "path": (".+", str)}
)


class NamespacePattern:
    """Matches names of namespaces; `*` matches every name.

    `{name}` is one or more characters other than `/`, `{name:int}` a whole number of at most 15
    digits, `{name:path}` any characters. Everything else stands for itself, and case matters.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError with a sentence that says what is wrong."""
        self.text = text
        self._convert: dict[str, Callable[[str], Any]] = {}
        self._regex = re.compile(".*" if text == "*" else self._compile(text), re.DOTALL)
        #: Equal for two patterns that match the same names.
        self.shape = _FIELD.sub(lambda field: f"{{:{field['kind'] or 'str'}}}", text)

    def match(self, namespace: str) -> dict[str, Any] | None:
        """Return the values of a namespace by name, or None if it does not match."""
        found = self._regex.fullmatch(namespace)
        if found is None:
            return None
        return {name: convert(found[name]) for name, convert in self._convert.items()}

    def _compile(self, text: str) -> str:
        if not text.startswith("/"):
            raise ValueError(f"namespace {text!r}: a name begins with /, and * matches all names")
        if set("{}") & set(_FIELD.sub("", text)):
            raise ValueError(f"namespace {text!r}: write fields as {{name}} or {{name:int}}")
        regex, end = "", 0
        for field in _FIELD.finditer(text):
            regex += re.escape(text[end : field.start()]) + self._field(field)
            end = field.end()
        return regex + re.escape(text[end:])

    def _field(self, field: re.Match[str]) -> str:
        name, kind = field["name"], "str" if field["kind"] is None else field["kind"]
        if not name.isidentifier() or name in self._convert:
            raise ValueError(
                f"namespace {self.text!r}: {name!r} is no name of a field, or has been used; "
                "write letters, digits and _, and each name once"
            )
        if kind not in _KINDS:
            raise ValueError(
                f"namespace {self.text!r}: {kind!r} is no kind; write {', '.join(_KINDS)}"
            )
        regex, self._convert[name] = _KINDS[kind]
        return f"(?P<{name}>{regex})"


def is_pattern(text: str) -> bool:
    """Tell whether this name of a namespace is a pattern."""
    return text == "*" or "{" in text or "}" in text
