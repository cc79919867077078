"""Readers of setting values: numbers, words, names and keys.

A reader takes a string and returns the value. It raises SettingsError with the rest of a sentence
that begins with "it".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


class SettingsError(ValueError):
    """A setting is wrong; the message names it and says what to write instead."""


def host(value: str) -> str:
    """Return an address to listen on."""
    address = value.strip()
    if "/" in address:
        raise SettingsError("is no address; write --unix-socket for a Unix socket")
    try:
        address.encode("idna")
    except UnicodeError:
        address = ""
    if not address:
        raise SettingsError(
            "must be an address such as 127.0.0.1; 0.0.0.0 is every IPv4 address, :: every IPv6 one"
        )
    return address


def socket_path(value: str) -> Path | None:
    """Return the path of a Unix socket; None for an empty string."""
    if not value:
        return None
    if not value.strip() or value.endswith("/"):
        raise SettingsError("must be a path such as /run/latchkey/latchkey.sock")
    return Path(value)


def optional_file(value: str) -> Path | None:
    """Return the path of a file; None for an empty string."""
    if not value:
        return None
    if not value.strip() or value.endswith("/"):
        raise SettingsError("must be the path of a file, or empty")
    return Path(value)


def mode(value: str) -> int:
    """Return permissions, written as octal digits."""
    if not re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
        raise SettingsError("must be three octal digits such as 660")
    return int(value, 8)


def folder(value: str) -> Path:
    """Return a path."""
    if not value.strip():
        raise SettingsError("must be a folder such as data")
    return Path(value)


def base_path(value: str) -> str:
    """Return a path without the slash at its end, such as /app; "" for the root."""
    path = value.removesuffix("/")
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path):
        raise SettingsError(
            "must be a path such as /app or /tools/app, of letters, digits, '.', '_', '~' and '-'"
        )
    return path


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def parse(value: str) -> int | float:
        try:
            if "_" in value or not value.isascii():
                raise ValueError("Python reads 8_0 and the digits of all scripts as numbers")
            number = kind(value)
        except ValueError:
            word = "whole number" if kind is int else "number"
            raise SettingsError(f"takes a {word}") from None
        # `not low <= number` refuses NaN too
        if not low <= number <= high:
            raise SettingsError(f"must be from {low:.15g} to {high:.15g}")
        return number

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from `low` to `high`."""
    return _number(int, low, high)


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of durations from `low` to `high` seconds."""
    return _number(float, low, high)


def choice(*words: str) -> Callable[[str], str]:
    """Make a reader that accepts these words."""

    def parse(value: str) -> str:
        if value not in words:
            raise SettingsError(f"must be one of {', '.join(words)}")
        return value

    return parse


def text(value: str) -> str:
    """Return the string as it is."""
    return value


def url(*schemes: str) -> Callable[[str], str]:
    """Make a reader of URLs with a host and one of these schemes; an empty string is none."""

    def parse(value: str) -> str:
        scheme, mark, rest = value.strip().partition("://")
        if value and (scheme not in schemes or not mark or not re.match(r"[^/?#\s]+", rest)):
            raise SettingsError(f"must be a URL such as {schemes[0]}://example.com")
        return value.strip()

    return parse


def origin(value: str) -> str:
    """Return scheme, host and port of a site, without a slash at the end; or an empty string."""
    address = value.strip().removesuffix("/")
    if value and not re.fullmatch(r"https?://[^/?#@\s,*]+", address):
        raise SettingsError("must be a scheme and a host such as https://example.com")
    return address


def yes_no(value: str) -> bool:
    """Return True for yes, False for no."""
    return choice("yes", "no")(value) == "yes"


def comma_separated(value: str) -> tuple[str, ...]:
    """Return the words between the commas, without spaces and empty ones."""
    return tuple(word for word in (part.strip() for part in value.split(",")) if word)


def secret_keys(value: str) -> tuple[str, ...]:
    """Return signing keys of at least 16 characters; none for an empty string."""
    keys = comma_separated(value)
    if value.strip() and not keys:
        raise SettingsError("holds commas only; leave it out to have a key made")
    if any(len(key) < 16 for key in keys):
        raise SettingsError(
            "has a key of fewer than 16 characters; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return keys


def cookie_name(value: str) -> str:
    """Return the name of a cookie, which has no prefix."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise SettingsError("must be 1 to 64 letters, digits, '_', '.' or '-'")
    if value.lower().startswith(("__host-", "__secure-")):
        raise SettingsError("is given without prefix; __Host- is added where it applies")
    return value


def cookie_domain(value: str) -> str:
    """Return a host name for a cookie's Domain attribute, or an empty string."""
    if value and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value):
        raise SettingsError("must be a host name in lower case, such as example.com")
    return value
