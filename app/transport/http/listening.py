"""Listening sockets, and how they close without losing a client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from ssl import SSLContext
from typing import Any

from app.common import unix_socket
from app.common.background import cancel_all

_BACKLOG = 1024  # connections that may wait to be accepted
_LAST_HANDSHAKES_TIMEOUT = 2.0  # seconds for those of TLS that begin with the stop


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
        self._kept = False  # whether the sockets stay open in another process

    async def listen(self, sockets: Iterable[socket.socket], *, kept: bool = False) -> None:
        """Accept connections on these sockets.

        `kept` are open in another process too, such as systemd: clients that wait when this one
        stops are served by the next one.
        """
        self._kept = kept
        for sock in sockets:
            self._sockets.append(sock)
            self._servers.append(await self._serve(sock))

    async def _serve(self, sock: socket.socket) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {
            "sock": sock,
            "backlog": _BACKLOG,
            "ssl": self._ssl,
            "ssl_handshake_timeout": self._timeout if self._ssl else None,
        }
        if sock.family != socket.AF_UNIX:
            return await loop.create_server(self._protocol, **options)
        options |= unix_socket.server_options(loop)
        return await loop.create_unix_server(self._protocol, **options)

    async def stop(self) -> None:
        """Close the sockets; clients that have connected by then are served."""
        loop = asyncio.get_running_loop()
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            loop.remove_reader(sock)
        # asyncio's servers may be closed only when what they accepted has got its transport
        await asyncio.sleep(0)
        # the kernel has accepted these for us, and would reset them with the socket
        closing = [] if self._kept else sockets
        waiting = [accepted for sock in closing for accepted in _accept_all(sock)]
        for server in self._servers:
            server.close()
        self._servers.clear()
        serving = {loop.create_task(self._serve_accepted(accepted)) for accepted in waiting}
        if serving:
            _, silent = await asyncio.wait(serving, timeout=_LAST_HANDSHAKES_TIMEOUT)
            await cancel_all(silent)
        await asyncio.sleep(0)  # and a transport tells its protocol of itself one turn later

    async def _serve_accepted(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # it has gone again
            await loop.connect_accepted_socket(self._protocol, accepted, ssl=self._ssl)


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that wait to be accepted."""
    with contextlib.suppress(OSError):  # no more of them
        while True:
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            yield accepted
