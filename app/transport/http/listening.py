"""Listening sockets, and how they close without losing a client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from ssl import SSLContext

_BACKLOG = 1024  # connections that may wait to be accepted


class Listener:
    """Accepts connections on any number of sockets, each with a protocol of its own."""

    def __init__(
        self, protocol: Callable[[], asyncio.BaseProtocol], ssl: SSLContext | None, timeout: float
    ) -> None:
        """`timeout` is for the handshake of TLS, in seconds."""
        self._protocol = protocol
        self._ssl = ssl
        self._timeout = timeout
        self._servers: list[asyncio.AbstractServer] = []
        self._sockets: list[socket.socket] = []

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        for sock in sockets:
            self._sockets.append(sock)
            server = await asyncio.get_running_loop().create_server(
                self._protocol,
                sock=sock,
                backlog=_BACKLOG,
                ssl=self._ssl,
                ssl_handshake_timeout=self._timeout if self._ssl else None,
            )
            self._servers.append(server)

    async def stop(self) -> None:
        """Close the sockets; clients that have connected by then are served."""
        loop = asyncio.get_running_loop()
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            loop.remove_reader(sock)
        # asyncio's servers may be closed only when what they accepted has got its transport
        await asyncio.sleep(0)
        # the kernel has accepted these for us, and would reset them with the socket
        waiting = [accepted for sock in sockets for accepted in _accept_all(sock)]
        for server in self._servers:
            server.close()
        self._servers.clear()
        for accepted in waiting:
            with contextlib.suppress(OSError):  # it has gone again
                await loop.connect_accepted_socket(self._protocol, accepted, ssl=self._ssl)
        await asyncio.sleep(0)  # and a transport tells its protocol of itself one turn later


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that wait to be accepted."""
    with contextlib.suppress(OSError):  # no more of them
        while True:
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            yield accepted
