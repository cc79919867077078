"""The hosts that this server serves, against DNS rebinding.

An attacker can let the name of their site point to an address of the visitor's machine or network.
Their pages then have the same origin as this server, and only the Host header differs. An IP
address is safe, because it needs no DNS, and so is `localhost`, which browsers resolve themselves.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

# a name or an address, and a port, which is ignored (RFC 9110, 7.2 and RFC 3986, 3.2.2)
_HOST = re.compile(r"(?:([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?|\[([0-9a-f:.]+)\])(?::[0-9]{0,5})?")
_MAX_CACHED = 256  # values, of at most 16 kB each


class Hosts:
    """The names in --allowed-hosts, all IP addresses, `localhost` and `*.localhost`."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are in lower case; `*.example.com` is any name below it, `*` any name."""
        names = set(names)
        self._any = "*" in names
        self._names = {name for name in names if not name.startswith("*")} | {"localhost"}
        below = [name[1:] for name in names if name.startswith("*.")]
        self._endings = (*below, ".localhost")
        # cached, because browsers send few values: saves a page at an IP address 3 µs
        self._served = functools.lru_cache(_MAX_CACHED)(self._is_host_served)

    def __contains__(self, host: object) -> bool:
        """Return whether the value of a Host header is one of them; False if it is malformed."""
        return isinstance(host, str) and self._served(host)

    def _is_host_served(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name, ipv6 = match.groups()
        return _is(IPv6Address, ipv6) if name is None else self._is_served(name)

    def _is_served(self, name: str) -> bool:
        if self._any or name in self._names or name.endswith(self._endings):
            return True
        return _is(IPv4Address, name)


def _is(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
