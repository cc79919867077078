"""The client of an HTTP connection."""

from __future__ import annotations

import asyncio
from typing import Any

#: `remote_ip` of a client of a Unix socket, which has no address.
UNIX_PEER = "unix:"
#: The address of this machine, which such a client is on.
LOCAL = "127.0.0.1"


class HttpContext:
    """Address and scheme of a client, by the names that Tornado uses."""

    __slots__ = ("address", "protocol", "remote_ip")

    def __init__(self, transport: asyncio.BaseTransport, protocol: str) -> None:
        self.address: Any = transport.get_extra_info("peername")
        self.remote_ip = _remote_ip(self.address)
        self.protocol = protocol

    def __str__(self) -> str:
        return self.remote_ip


def _remote_ip(address: Any) -> str:
    """Return the address in a peer name, UNIX_PEER for a Unix socket, 0.0.0.0 if it has left."""
    if isinstance(address, tuple):
        return str(address[0])
    return "0.0.0.0" if address is None else UNIX_PEER  # noqa: S104
