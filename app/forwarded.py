"""What a trusted proxy says of the client: address, scheme and host.

X-Forwarded-* headers count only when the connection comes from --trusted-proxies; from anybody
else they are a client's claim and are ignored.
"""

from __future__ import annotations

from ipaddress import ip_address

from tornado.httputil import HTTPServerRequest

from app.settings import Network


def _trusted(address: str, proxies: tuple[Network, ...]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in proxies)


def _client(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Walk from the nearest proxy outwards to the first address that is no trusted proxy."""
    client = peer
    for hop in reversed(forwarded_for.split(",")):
        if not _trusted(client, proxies):
            break
        hop = hop.strip(" \t")
        try:
            ip_address(hop)
        except ValueError:
            break
        client = hop
    return client


def apply_forwarded(request: HTTPServerRequest, proxies: tuple[Network, ...]) -> None:
    """Set remote_ip, protocol and host of this request as the outermost trusted proxy saw them."""
    peer = request.remote_ip or ""
    if not proxies or not _trusted(peer, proxies):
        return
    headers = request.headers
    request.remote_ip = _client(peer, ",".join(headers.get_list("X-Forwarded-For")), proxies)
    # the last proxy in the chain is ours; with several, each overwrites or they all agree
    protocol = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip(" \t").lower()
    if protocol in ("http", "https"):
        request.protocol = protocol
    host = headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip(" \t")
    if host:
        request.host = headers["Host"] = host
