"""Lone surrogates: halves of a character, which JSON and Python can hold and UTF-8 cannot.

A client that cuts a string in the middle of an emoji sends one, as the JSON escape `\\ud83d`.
"""

from __future__ import annotations

import re
from typing import Any

_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_ESCAPE = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")


def repair_text(text: str) -> str:
    """Replace each lone surrogate in a string by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def repair_json(text: str) -> str:
    """Replace each escape of a lone surrogate in JSON text by that of U+FFFD."""
    if "\0" in text:
        return text  # which JSON does not allow
    # escaped backslashes are set aside: what follows them is no escape
    text = _LONE_ESCAPE.sub(r"\\ufffd", text.replace(r"\\", "\0"))
    return text.replace("\0", r"\\")


def repair(value: Any) -> Any:
    """Return built-in data with `repair_text` applied to each string in it, keys included."""
    if isinstance(value, str):
        return repair_text(value)
    if isinstance(value, dict):
        return {repair(key): repair(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [repair(item) for item in value]
    return value
