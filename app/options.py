"""How the command line and the value of each setting are read.

The functions take text and return it checked; they raise SettingsError with the rest of a
sentence that begins "it …".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, NoReturn

Network = IPv4Network | IPv6Network


class SettingsError(ValueError):
    """A setting is wrong; the text names it and says what to write instead."""


class Parser(argparse.ArgumentParser):
    """A parser of the command line whose refusals are sentences like all the others."""

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError (argparse calls this for what it cannot read)."""
        raise SettingsError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def host(value: str) -> str:
    if not value.strip():
        raise SettingsError("must be an address such as 127.0.0.1; every one is 0.0.0.0 or ::")
    return value.strip()


def folder(value: str) -> Path:
    if not value.strip():
        raise SettingsError("must be a folder such as data")
    return Path(value)


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def parse(value: str) -> int | float:
        try:
            if "_" in value or not value.isascii():
                raise ValueError("Python reads 8_0 and the digits of all scripts as numbers")
            number = kind(value)
        except ValueError:
            word = "whole number" if kind is int else "number"
            raise SettingsError(f"takes a {word}") from None
        # written so that NaN, which compares with nothing, is refused too
        if not low <= number <= high:
            raise SettingsError(f"must be from {low:.15g} to {high:.15g}")
        return number

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    return _number(int, low, high)


def seconds(low: float, high: float) -> Callable[[str], float]:
    return _number(float, low, high)


def choice(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise SettingsError(f"must be one of {', '.join(words)}")
        return value

    return parse


def yes_no(value: str) -> bool:
    return choice("yes", "no")(value) == "yes"


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in value.split(",")) if word)


def secret_keys(value: str) -> tuple[str, ...]:
    keys = _words(value)
    if value.strip() and not keys:
        raise SettingsError("holds commas only; leave it out to have a key made")
    if any(len(key) < 16 for key in keys):
        raise SettingsError(
            "has a key of fewer than 16 characters; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return keys


def origins(value: str) -> tuple[str, ...]:
    return tuple(_origin(word) for word in _words(value.lower()))


_WEB_ORIGIN = re.compile(
    r"(https?)://((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
)
# of apps and browser extensions, such as capacitor://localhost
_APP_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://[a-z0-9_.-]+")
_NO_ORIGINS = ("http", "https", "ws", "wss", "ftp", "file", "data", "blob", "about", "javascript")


def _origin(word: str) -> str:
    """Return an origin as browsers write it, without the scheme's own port."""
    app = _APP_ORIGIN.fullmatch(word)
    if app is not None and app[1] not in _NO_ORIGINS:
        return word
    match = _WEB_ORIGIN.fullmatch(word)
    if match is None or int(match[3] or 0) > 65535:
        raise SettingsError(
            f"has {word!r}; write an origin as https://example.com[:port], https://*.example.com "
            "or capacitor://localhost, and a name with other letters as browsers send it (xn--…)"
        )
    scheme, host, port = match.groups()
    below = host.removeprefix("*.")
    if below != host and "." not in below and below != "localhost":
        raise SettingsError(f"has {word!r}, which trusts a whole top-level domain")
    own = {"http": "80", "https": "443"}[scheme]
    return f"{scheme}://{host}" + (f":{port}" if port not in (None, own) else "")


def frame_ancestors(value: str) -> tuple[str, ...]:
    """Return sources for the policy's frame-ancestors (CSP 3, 6.4.2)."""
    words = _words(value.lower())
    if any("[" in word for word in words):
        raise SettingsError("has an IPv6 address, which a Content-Security-Policy cannot name")
    return tuple("'self'" if word in ("self", "'self'") else _origin(word) for word in words)


def hosts(value: str) -> tuple[str, ...]:
    return tuple(_host_name(word) for word in _words(value.lower()))


_HOST_NAME = re.compile(
    r"((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])\.?(?::[0-9]{1,5})?|\*"
)


def _host_name(word: str) -> str:
    """Return a name, or a pattern of names, without port and final dot."""
    match = _HOST_NAME.fullmatch(word)
    if match is None:
        raise SettingsError(
            f"has {word!r}; write a host as example.com, or *.example.com for all below it, "
            "and a name with other letters as browsers send it (xn--…)"
        )
    return match[1] or word


def networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(word) for word in _words(value))
    except ValueError as error:
        raise SettingsError(
            f"has a word that is no address or network ({error}); write 127.0.0.1 or 10.0.0.0/8"
        ) from None


def cookie_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise SettingsError("must be 1 to 64 letters, digits, '_', '.' or '-'")
    if value.lower().startswith(("__host-", "__secure-")):
        raise SettingsError("is given without prefix; __Host- is added where it applies")
    return value


def cookie_domain(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value):
        raise SettingsError("must be a host name in lower case, such as example.com")
    return value


def store(value: str) -> str:
    if value in ("sqlite", "memory"):
        return value
    # a password with a letter that means something in a URL must not be taken for a host
    if re.fullmatch(r"(redis|rediss|redis\+sentinel)://([^/?#\s]*@)?[^@?#\s]+(\?[^@#\s]*)?", value):
        return value
    raise SettingsError(
        "must be sqlite, memory, redis://:PASSWORD@HOST:PORT/DB, rediss://… (TLS) or "
        "redis+sentinel://:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB "
        "with each of / ? # % in a password as %2F %3F %23 %25"
    )


def database(value: str) -> str:
    if value == "sqlite":
        return value
    # a password with a letter that means something in a URL must not be taken for a host
    if re.fullmatch(
        r"postgresql://([^@/?#\s]*@)?[^@/?#\s]*/[^@/?#\s]+(\?[^@#\s]*)?", value, re.ASCII
    ):
        return value
    raise SettingsError(
        "must be sqlite, or postgresql://USER:PASSWORD@HOST/DATABASE "
        "with each of @ / ? # % : in a password as %40 %2F %3F %23 %25 %3A"
    )


def shown(url: str) -> str:
    """Return what `store` or `database` accepted for people to read: where it is, no password.

    User and parameters are left out too.
    """
    scheme, slashes, rest = url.partition("://")
    return scheme + slashes + rest.partition("?")[0].rpartition("@")[2]
