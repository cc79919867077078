"""Settings from a file: TOML, with the names of the flags.

A table is the first part of names: `history` in the table `[chat]` is `chat-history`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.settings.declaration import PREFIX, Declared, did_you_mean
from app.settings.values import SettingsError, mode

_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


class ConfigFile:
    """The settings that one file gives, by their names with underscores."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises SettingsError if it cannot be read or is not TOML."""
        self._path = path
        try:
            text = path.read_text(encoding="utf-8")
            content = tomllib.loads(text)
        except OSError as error:
            raise SettingsError(
                f"--config {path}: it cannot be read ({error.strerror}); name another file"
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"--config {path}: it is not UTF-8; save it as UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(
                f"--config {path}: it is not TOML ({error}); write lines such as port = 8888, "
                'with strings in quotes: host = "127.0.0.1"'
            ) from None
        self._lines = dict(_find_lines(text))
        self._values: dict[str, Any] = {}
        for name, value in _flatten(content):
            if name in self._values:
                raise SettingsError(f"{self._where(name)} is there twice; leave one out")
            self._values[name] = value

    def get(self, option: Declared) -> tuple[str, str] | None:
        """Return where a setting is in the file, and its value as on the command line.

        None if it is not in the file. Raises SettingsError if the value has another type.
        """
        if option.name not in self._values:
            return None
        where, value = self._where(option.name), self._values[option.name]
        accepted, words = _types(option)
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            raise SettingsError(f"{where}: it takes {words}, not {_called(value)}")
        if isinstance(value, list):
            if not all(isinstance(item, str) for item in value):
                raise SettingsError(f"{where}: it takes strings only between [ and ]")
            return where, ",".join(value)
        return where, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    def refuse_unknown(
        self, options: Sequence[Declared], others: Callable[[], Collection[str]]
    ) -> None:
        """Raise SettingsError for a name that is no setting, without its value.

        `others` returns the environment variables of settings that another command has.
        """
        known = [option.name for option in options]
        unknown = [name for name in self._values if name not in known]
        allowed = others() if unknown else ()
        for name in unknown:
            if PREFIX + name.upper() not in allowed:
                names = [option.flag[2:] for option in options]
                remedy = did_you_mean(name.replace("_", "-"), "", names)
                raise SettingsError(f"{self._where(name)} is no setting; {remedy}")

    def _where(self, name: str) -> str:
        line = f", line {self._lines[name]}" if name in self._lines else ""
        return f"{self._path}{line}: {name.replace('_', '-')}"


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = prefix + key.replace("-", "_")
        if isinstance(value, dict):
            yield from _flatten(value, name + "_")
        else:
            yield name, value


def _find_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names that lines of the file begin with, and the numbers of the lines."""
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            prefix = _name(header[1]) + "_"
        elif (found := _KEY.match(line)) is not None:
            yield prefix + _name(found[1]), number


def _name(key: str) -> str:
    parts = (part.strip().strip("\"'") for part in key.split("."))
    return "_".join(parts).replace("-", "_")


def _types(option: Declared) -> tuple[tuple[type, ...], str]:
    """Return the types of a setting in TOML, and words for them."""
    kind = option.field.type
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    if option.is_switch:
        return (bool,), "true or false"
    if option.field.metadata["parse"] is mode:
        return (str,), 'a string such as "660"'
    if name == "int":
        return (int,), "a whole number"
    if name == "float":
        return (int, float), "a number"
    if name.startswith("tuple"):
        return (str, list), "a list of strings, or a string with commas"
    if name == "str" or "Path" in name:
        return (str,), "a string"
    return (str, int, float), "a string or a number"


def _called(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "a list" if isinstance(value, list) else "a date or time")
