"""Readers of setting values that name origins, hosts and networks."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

from app.settings.values import SettingsError, comma_separated, host

Network = IPv4Network | IPv6Network


def origins(value: str) -> tuple[str, ...]:
    """Return origins, and patterns such as https://*.example.com, as browsers write them."""
    return tuple(_origin(word) for word in comma_separated(value.lower()))


_WEB_ORIGIN = re.compile(
    r"(https?)://((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
)
# origins of apps and browser extensions, such as capacitor://localhost
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
    words = comma_separated(value.lower())
    if any("[" in word for word in words):
        raise SettingsError("has an IPv6 address, which a Content-Security-Policy cannot name")
    return tuple("'self'" if word in ("self", "'self'") else _origin(word) for word in words)


def hosts(value: str) -> tuple[str, ...]:
    """Return host names and patterns in lower case, without ports."""
    return tuple(_host_name(word) for word in comma_separated(value.lower()))


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


def listening(value: str) -> tuple[str, ...]:
    """Return addresses to listen on, at least one."""
    return tuple(host(word) for word in comma_separated(value) or ("",))


def networks(value: str) -> tuple[Network, ...]:
    """Return networks; an address is a network of one."""
    try:
        return tuple(ip_network(word) for word in comma_separated(value))
    except ValueError as error:
        raise SettingsError(
            f"has a word that is no address or network ({error}); write 127.0.0.1 or 10.0.0.0/8"
        ) from None
