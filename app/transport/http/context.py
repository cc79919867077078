"""Who is at the other end of an HTTP connection."""

from __future__ import annotations

import asyncio
from typing import Any


class HttpContext:
    """Who is at the other end, by the names that Tornado uses."""

    __slots__ = ("address", "protocol", "remote_ip")

    def __init__(self, transport: asyncio.BaseTransport, protocol: str) -> None:
        self.address: Any = transport.get_extra_info("peername")
        # of a Unix socket it is a path, and None of a client that has left already
        internet = isinstance(self.address, tuple)
        self.remote_ip: str = self.address[0] if internet else "0.0.0.0"  # noqa: S104
        self.protocol = protocol

    def __str__(self) -> str:
        return self.remote_ip
