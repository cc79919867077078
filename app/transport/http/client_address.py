"""The client of an HTTP connection."""

from __future__ import annotations

import asyncio
from typing import Any


class HttpContext:
    """Address and scheme of a client, by the names that Tornado uses."""

    __slots__ = ("address", "protocol", "remote_ip")

    def __init__(self, transport: asyncio.BaseTransport, protocol: str) -> None:
        self.address: Any = transport.get_extra_info("peername")
        # a path for a Unix socket, None if the client has left already
        internet = isinstance(self.address, tuple)
        self.remote_ip: str = self.address[0] if internet else "0.0.0.0"  # noqa: S104
        self.protocol = protocol

    def __str__(self) -> str:
        return self.remote_ip
