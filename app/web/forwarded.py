"""X-Forwarded-* headers: address, scheme and host of a client behind a trusted proxy.

They count only if the connection comes from --trusted-proxies or over a Unix socket. Any other
client could forge them, so they are ignored.
"""

from __future__ import annotations

import functools
import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from tornado.httputil import HTTPServerRequest

from app.settings import Network
from app.transport.http.client_address import LOCAL, UNIX_PEER

# An address as proxies write it: bare, or with a port, as Azure and IIS do; IPv6 may have a zone.
_IPV6 = r"([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)(?:%[0-9A-Za-z._~-]+)?"
_HOP = re.compile(rf"(?:([0-9.]+)|\[{_IPV6}\])(?::[0-9]{{1,5}})?|{_IPV6}")


@functools.lru_cache(1024)  # parsing took 4 % of a page's CPU
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _trusted(address: str, proxies: tuple[Network, ...]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in proxies)


def _address(hop: str) -> str | None:
    """Return the address in one element of X-Forwarded-For, or None.

    Port and zone are left out: each connection of a client has another port, and a zone has a
    meaning on the proxy's machine only.
    """
    match = _HOP.fullmatch(hop.strip(" \t"))
    parsed = _parsed(match[match.lastindex or 0]) if match else None
    return None if parsed is None else str(parsed)


def _client(proxy: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Return the first address that is no trusted proxy; `proxy` is the nearest, a trusted one."""
    client = proxy
    for hop in reversed(forwarded_for.split(",")):
        address = _address(hop)
        if address is None:
            break
        client = address
        if not _trusted(client, proxies):
            break
    return client


def apply_forwarded(request: HTTPServerRequest, proxies: tuple[Network, ...]) -> bool:
    """Set remote_ip, protocol and host of this request as the outermost trusted proxy saw them.

    Return whether the request comes from a trusted proxy. Whoever may connect to a Unix socket is
    one: only its permissions let clients in.
    """
    peer = request.remote_ip or ""
    if peer == UNIX_PEER:
        peer = LOCAL
    elif not proxies or not _trusted(peer, proxies):
        return False
    headers = request.headers
    hops = headers.get_list("X-Forwarded-For")
    request.remote_ip = _client(peer, ",".join(hops), proxies) if hops else peer
    # the last element is from the nearest proxy, which is a trusted one
    protocol = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip(" \t").lower()
    if protocol in ("http", "ws"):  # Traefik writes ws and wss for WebSockets
        request.protocol = "http"
    elif protocol in ("https", "wss"):
        request.protocol = "https"
    host = headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip(" \t")
    if host:
        request.host = headers["Host"] = host
    return True
